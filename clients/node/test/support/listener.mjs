// A listener in a process of its own: hands the messages over that stdin names, and prints each receipt in a line.
import { createInterface } from 'node:readline';
import { readFileSync } from 'node:fs';
import { esteira } from './package.mjs';

const [url, token, folder, photos] = process.argv.slice(2);
const client = new esteira.EsteiraClient({ url, token, spool: { folder }, timeoutMs: 2000 });
client.on('error', (error) => console.log(JSON.stringify({ error: error.code })));
client.on('delivered', ({ messageId }) => console.log(JSON.stringify({ delivered: messageId })));

/** The message with this number: one of four kinds, with one of the photos. */
function message(number) {
    const path = `${photos}/${number % 8}.jpg`;
    if (number % 4 === 0) return { message_id: `m${number}`, file: path, kind: 'image' };
    const bytes = readFileSync(path);
    if (number % 4 === 1) return { message_id: `m${number}`, data: bytes, kind: 'image' };
    const body = bytes.toString('base64');
    const own = {
        id: `false_5511999990000@c.us_${number}`,
        type: 'image',
        mimetype: 'image/jpeg',
        size: bytes.length,
        body,
    };
    return number % 4 === 2 ? own : { _data: own };
}

const tasks = [];
for await (const line of createInterface({ input: process.stdin })) {
    if (line === 'flush') break;
    const number = Number(line);
    const task = client.processMediaAsync(message(number), 'shop').then(
        (receipt) => console.log(JSON.stringify({ number, id: receipt.id, mode: receipt.mode })),
        (error) => console.log(JSON.stringify({ number, refused: error.code })),
    );
    tasks.push(task);
}
await Promise.all(tasks);
const isEmpty = await client.flush(60_000);
await client.close();
console.log(JSON.stringify({ isEmpty }));
