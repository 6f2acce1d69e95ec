/** Pieces of bytes as one. What must stay true: the answer is memory of its own, also of a single piece. */
export const concatenated = (
  pieces: ReadonlyArray<Uint8Array>,
  allocate: (size: number) => Uint8Array = (size) => new Uint8Array(size),
): Uint8Array => {
  let length = 0;
  for (const piece of pieces) length += piece.length;
  const whole = allocate(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
};
