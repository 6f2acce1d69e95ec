/** What the requests about groups share. */
import type { Client } from "../group/GroupCoordinator.ts";
import { Errors } from "../protocol/Errors.ts";
import type { RequestContext } from "./RequestContext.ts";

/** Who asks, as Kafka writes it into a group's records: a slash and the address. */
export const clientOf = ({ clientId, connection }: RequestContext): Client => {
  const { host } = connection.remote;
  // A dual-stack socket shows IPv4 peers as `::ffff:a.b.c.d`.
  return { clientId, host: `/${host.startsWith("::ffff:") ? host.slice("::ffff:".length) : host}` };
};

/** The coordinator answered with an error code instead of a reply. */
export const isRefused = <Reply>(reply: Reply | number): reply is number => typeof reply === "number";

/** INVALID_GROUP_ID for the empty id, which only offsets may have. */
export const groupIdError = (groupId: string): number => (groupId === "" ? Errors.INVALID_GROUP_ID : Errors.NONE);
