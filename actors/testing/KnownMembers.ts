/**
 * The members of consumer groups as a broker's answers tell of them, so that a fault can put one out of its group. What
 * must stay true: only a member that its coordinator has let in is known.
 */
import type * as Effect from "effect/Effect";
import { clientOf } from "../../src/api/GroupRequest.ts";
import type { RequestContext } from "../../src/api/RequestContext.ts";
import { ApiKey, type RequestOf, type ResponseOf } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { emptyConsumerGroupHeartbeatRequest } from "../../src/protocol/generated/ConsumerGroupHeartbeatRequest.ts";

export interface Member {
  readonly groupId: string;
  readonly memberId: string;
  readonly protocol: "classic" | "consumer";
}

/** Members remembered; more than any test has. */
const MAX_MEMBERS = 1000;

export class KnownMembers {
  /** By member id, those heard of last at the end. */
  private readonly members = new Map<string, Member>();

  /** A request has been handled. */
  handled(apiKey: number, request: unknown, response: unknown): void {
    switch (apiKey) {
      case ApiKey.JoinGroup: {
        const { groupId } = request as RequestOf<typeof ApiKey.JoinGroup>;
        const { memberId, errorCode } = response as ResponseOf<typeof ApiKey.JoinGroup>;
        if (errorCode === Errors.NONE) this.add({ groupId, memberId, protocol: "classic" });
        return;
      }
      case ApiKey.ConsumerGroupHeartbeat: {
        const asked = request as RequestOf<typeof ApiKey.ConsumerGroupHeartbeat>;
        const { memberId, errorCode } = response as ResponseOf<typeof ApiKey.ConsumerGroupHeartbeat>;
        if (asked.memberEpoch < 0) this.members.delete(asked.memberId);
        else if (errorCode === Errors.NONE)
          this.add({ groupId: asked.groupId, memberId: memberId ?? asked.memberId, protocol: "consumer" });
        return;
      }
      case ApiKey.LeaveGroup: {
        const { memberId, members } = request as RequestOf<typeof ApiKey.LeaveGroup>;
        for (const left of [memberId, ...members.map((member) => member.memberId)]) this.members.delete(left);
      }
    }
  }

  /** Whom a rebalance hits: the member that asks, or with a Fetch, which names none, any; forgotten with that. */
  take(apiKey: number, request: unknown, pick: number): Member | undefined {
    const known = [...this.members.values()];
    const member =
      apiKey === ApiKey.Fetch
        ? known[Math.floor(pick * known.length)]
        : this.members.get((request as { readonly memberId: string }).memberId);
    if (member !== undefined) this.members.delete(member.memberId);
    return member;
  }

  private add(member: Member): void {
    this.members.delete(member.memberId);
    this.members.set(member.memberId, member);
    if (this.members.size > MAX_MEMBERS) this.members.delete(this.members.keys().next().value!);
  }
}

/** What a coordinator does when a member's session has ended. */
export const evict = ({ groupId, memberId, protocol }: Member, context: RequestContext): Effect.Effect<unknown> => {
  const { groups, random } = context.ports;
  if (protocol === "consumer") {
    const request = { ...emptyConsumerGroupHeartbeatRequest(), groupId, memberId, memberEpoch: -1 };
    const client = clientOf(context);
    return groups.ask(groupId, { type: "ConsumerGroupHeartbeat", request, version: 1, client, uuid: random.uuid() });
  }
  const members = [{ memberId, groupInstanceId: null, reason: "an injected fault" }];
  return groups.ask(groupId, { type: "LeaveGroup", request: { groupId, memberId: "", members }, version: 5 });
};
