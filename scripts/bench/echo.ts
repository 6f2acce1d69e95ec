/**
 * A frame echo server: reads Kafka-sized frames (four bytes of length, then the body), sends each back when it is whole, and does
 * nothing else. It is the ceiling of what a broker on Bun's sockets could reach, measured beside it by the same client.
 */
interface Connection {
  /** Bytes received and not yet answered. */
  pending: Buffer;
  /** Bytes the socket has not taken. */
  unsent: Buffer[];
}

const flush = (socket: Bun.Socket<Connection>): void => {
  const { unsent } = socket.data;
  for (let first = unsent[0]; first !== undefined; first = unsent[0]) {
    const taken = socket.write(first);
    if (taken < first.length) {
      if (taken > 0) unsent[0] = first.subarray(taken);
      return;
    }
    unsent.shift();
  }
};

const server = Bun.listen<Connection>({
  hostname: "127.0.0.1",
  port: 0,
  socket: {
    open(socket) {
      socket.data = { pending: Buffer.alloc(0), unsent: [] };
      socket.setNoDelay(true);
    },
    data(socket, chunk) {
      const state = socket.data;
      const bytes = state.pending.length === 0 ? chunk : Buffer.concat([state.pending, chunk]);
      let start = 0;
      while (bytes.length - start >= 4) {
        const end = start + 4 + bytes.readUInt32BE(start);
        if (end > bytes.length) break;
        start = end;
      }
      // The rest is copied: the chunk belongs to the socket.
      state.pending = start < bytes.length ? Buffer.from(bytes.subarray(start)) : Buffer.alloc(0);
      if (start > 0) {
        state.unsent.push(Buffer.from(bytes.subarray(0, start)));
        flush(socket);
      }
    },
    drain: flush,
  },
});

console.log(`listening on 127.0.0.1:${server.port}`);
