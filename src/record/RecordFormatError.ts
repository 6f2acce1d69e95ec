/**
 * What reading a record batch throws when the bytes do not hold what the format promises: a cut varint, a record
 * longer than its batch, a size below the header's. Whoever reads foreign bytes catches it and answers Kafka's error.
 */
export class RecordFormatError extends Error {
  override readonly name = "RecordFormatError";
}
