// node ws_server.mjs PORT
import { createRequire } from "node:module";

const { WebSocketServer } = createRequire(process.cwd() + "/")("ws");
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), perMessageDeflate: true });
server.on("connection", (websocket) => {
  websocket.on("error", () => {});
  websocket.on("message", (message, binary) => websocket.send(message, { binary }));
});
