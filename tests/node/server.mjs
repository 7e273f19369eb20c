// A Socket.IO server as the project's forerunner has one: clients join the room of their session.
//   node server.mjs REDIS_URL NAMESPACE KEY; prints its port
import { createServer } from "node:http";
import { createClient } from "@redis/client";
import { createAdapter } from "@socket.io/redis-adapter";
import { Server } from "socket.io";

const [url, namespace, key] = process.argv.slice(2);
const publisher = createClient({ url });
const subscriber = publisher.duplicate();
for (const client of [publisher, subscriber]) client.on("error", () => {});
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer();
const io = new Server(http, { adapter: createAdapter(publisher, subscriber, { key }) });
io.of(namespace).on("connection", (socket) => socket.join(socket.handshake.auth.room ?? []));
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
