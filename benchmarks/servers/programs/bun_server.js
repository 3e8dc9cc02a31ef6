// bun bun_server.js PORT
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch: (request, server) => (server.upgrade(request, { data: new URL(request.url).pathname === "/room" }) ? undefined : new Response("no WebSocket", { status: 400 })),
  websocket: {
    perMessageDeflate: true,
    maxPayloadLength: 16 * 1024 * 1024,
    backpressureLimit: 64 * 1024 * 1024,
    open: (websocket) => websocket.data && websocket.subscribe("room"),
    message: (websocket, message) =>
      websocket.data ? server.publish("room", message, true) : websocket.send(message, true),
  },
});
