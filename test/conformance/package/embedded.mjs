/** The broker as a library: prints where it listened, or why it cannot run here. */
import { startBroker } from "odradek";

try {
  const broker = await startBroker({
    config: { listeners: "PLAINTEXT://127.0.0.1:0", "http.listeners": "", "log.dirs": process.argv[2] },
  });
  console.log(`listening on ${broker.listeners[0].endpoint.host}`);
  await broker.stop();
} catch (error) {
  console.log(error.message);
}
