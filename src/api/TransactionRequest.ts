/** What the requests about transactions share. */
import { Errors } from "../protocol/Errors.ts";

/** Clients of versions before `fencedFrom` do not know PRODUCER_FENCED; they are told INVALID_PRODUCER_EPOCH. */
export const fencedErrorOf = (error: number, version: number, fencedFrom: number): number =>
  error === Errors.PRODUCER_FENCED && version < fencedFrom ? Errors.INVALID_PRODUCER_EPOCH : error;

/** PRODUCER_FENCED is known from version 2 on by AddPartitionsToTxn, AddOffsetsToTxn and EndTxn. */
export const FENCED_FROM = 2;

/** The transactions version of clients that bump the epoch with every transaction (KIP-890), and of those that do not. */
export const EPOCH_BUMP_VERSION = 2;
export const OLD_VERSION = 0;
