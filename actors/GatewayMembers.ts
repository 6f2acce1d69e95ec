/**
 * Who speaks for which group member, all connections together: a member that another connection opens changes hands. For
 * a member whose connection broke, the last epoch, and since when it has had its partitions, is remembered for the group's
 * session timeout, because the client may not have heard of it. What must stay true: one connection at most speaks for a member.
 */
import type { Timers } from "../src/api/Ports.ts";
import type { GatewayMember, KnownMember } from "./GatewayMember.ts";

export class GatewayMembers {
  private readonly speaking = new Map<string, GatewayMember>();
  /** Members that nobody speaks for, and what forgets them. */
  private readonly silent = new Map<string, KnownMember & { readonly forget: () => void }>();

  constructor(
    private readonly timers: Timers,
    private readonly sessionTimeoutMs: () => number,
  ) {}

  /** Takes the member over from whoever has it; answers what is known of it. */
  take(key: string): KnownMember | undefined {
    const present = this.speaking.get(key);
    const known = present ?? this.silent.get(key);
    present?.takeOver();
    this.speaking.delete(key);
    this.forget(key);
    return known;
  }

  speaks(member: GatewayMember): void {
    this.speaking.set(member.key, member);
  }

  /** Nobody speaks for it any more; `isLeft`: it is in its group no longer. */
  silence(member: GatewayMember, isLeft: boolean): void {
    if (this.speaking.get(member.key) !== member) return;
    this.speaking.delete(member.key);
    if (isLeft) return;
    const { key, epoch, since } = member;
    const forget = this.timers.after(this.sessionTimeoutMs(), () => this.silent.delete(key));
    this.silent.set(key, { epoch, since, forget });
  }

  private forget(key: string): void {
    this.silent.get(key)?.forget();
    this.silent.delete(key);
  }
}
