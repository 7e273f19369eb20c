// Socket.IO's own clients: told over stdin what to do, telling on stdout what happens, a line of JSON each.
//   node listen.mjs '{"url", "clients": [{"token", "since"}], "options"}'
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const given = JSON.parse(process.argv[2]);
const say = (told) => process.stdout.write(JSON.stringify(told) + "\n");

const sockets = given.clients.map((one, client) => {
  let since = one.since;
  const auth = (done) => done({ ...one, since });
  const patience = { reconnectionDelay: 50, reconnectionDelayMax: 300, forceNew: true };
  const socket = io(given.url, { ...patience, ...given.options, auth });
  socket.on("connect", () => say({ client, what: "connect" }));
  socket.on("connect_error", (error) => say({ client, what: "refused", message: error.message, data: error.data }));
  socket.on("disconnect", (reason) => say({ client, what: "disconnect", reason }));
  socket.onAny((name, payload) => {
    since = payload.event_id ?? since;
    say({ client, what: "event", name, at: Date.now(), ...(given.whole ? { payload } : { id: payload.event_id }) });
  });
  return socket;
});

createInterface({ input: process.stdin }).on("line", (line) => {
  const { act, client, args } = JSON.parse(line);
  // A connection that is closed while it opens is not opened again by the client.
  if (act === "drop" && sockets[client].connected) sockets[client].io.engine.close();
  if (act === "emit") sockets[client].emit(...args);
  if (act === "transport") say({ client, what: "transport", name: sockets[client].io.engine.transport.name });
}).on("close", () => process.exit(0));
