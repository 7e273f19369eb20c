// A server whose answers a test chooses, and clients of it.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { esteira } from './package.mjs';

export const TOKEN = 'a token of the tests';

/**
 * Starts a server. `answer(request, body)` returns [status, body, headers], or null for no answer at all; `read` reads
 * the body.
 */
export async function fakeServer(t, answer = accept, read = bodyOf) {
    const requests = [];
    const fake = { requests, answer };
    const server = createServer(async (request, response) => {
        const body = await read(request).catch(() => null);
        if (body === null) return; // the client has given up
        requests.push({ method: request.method, path: request.url, headers: request.headers, body });
        const [status, reply, headers] = (await fake.answer(request, body, response)) ?? [];
        if (status) response.writeHead(status, headers).end(typeof reply === 'string' ? reply : JSON.stringify(reply));
    });
    fake.port = await listen(server, 0);
    fake.url = `http://127.0.0.1:${fake.port}`;
    fake.stop = async () => {
        server.closeAllConnections?.();
        await new Promise((resume) => server.close(resume));
    };
    fake.start = () => listen(server, fake.port);
    t.after(() => fake.stop());
    return fake;
}

async function bodyOf(request) {
    const parts = [];
    for await (const part of request) parts.push(part);
    return Buffer.concat(parts);
}

function listen(server, port) {
    return new Promise((resume) => server.listen(port, '127.0.0.1', () => resume(server.address().port)));
}

export function accept(request, body) {
    const id = request.url === '/hooks/media' && body?.[0] === 123 ? JSON.parse(body).message_id : 'x';
    return [202, { accepted: [{ id: `id of ${id}`, message_id: id, status: 'received' }], ignored: 0 }];
}

/** A client with a folder of its own, which both end with the test. Failures without a caller are in `errors`. */
export function clientOf(t, url, options = {}) {
    const folder = options.spool?.folder ?? folderOf();
    const spool = options.spool === false ? false : { folder, ...options.spool };
    const client = new esteira.EsteiraClient({ url, token: TOKEN, timeoutMs: 10_000, ...options, spool });
    const errors = [];
    client.on('error', (error) => errors.push(error));
    t.after(() => client.close());
    return { client, folder, errors };
}

export function folderOf() {
    const folder = mkdtempSync(join(tmpdir(), 'esteira-client-'));
    process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
    return folder;
}

export const message = (id, fields) => ({ message_id: id, url: 'https://media.example/x', ...fields });

export async function until(condition, withinMs = 15_000) {
    for (const end = Date.now() + withinMs; ;) {
        const value = await condition();
        if (value) return value;
        if (Date.now() > end) throw new Error('the condition did not come true');
        await new Promise((resume) => setTimeout(resume, 20));
    }
}
