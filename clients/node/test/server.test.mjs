// The client against a real server, which is killed and started again meanwhile: see tests/clients/test_node_client.py.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test, { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { clientOf, folderOf, until } from './support/fakeServer.mjs';
import { esteira } from './support/package.mjs';

const { ESTEIRA_URL: url, ESTEIRA_TEST_PHOTOS: photos, ESTEIRA_TEST_WEBHOOK_PORT: webhookPort } = process.env;
const { ESTEIRA_TEST_PAYLOADS: payloads } = process.env;
const token = process.env.ESTEIRA_TOKEN;
const options = { skip: url ? false : 'ESTEIRA_URL is not set' };
const COUNT = 1000;
const LISTENER = fileURLToPath(new URL('./support/listener.mjs', import.meta.url));

// The server's webhooks are heard from the start: with nobody there, it would try again only after a while.
const [byWebhook, webhookErrors] = [new Map(), []];
let webhookServer;

before(() => {
    if (!url) return;
    const hearer = new esteira.EsteiraClient({ url, token, spool: false, webhookSecret: process.env.WEBHOOK_SECRET });
    hearer
        .on('media.done', (event) => byWebhook.set(event.id, event))
        .on('error', (error) => webhookErrors.push(error));
    webhookServer = createServer(hearer.webhook()).listen(Number(webhookPort), '127.0.0.1');
});
after(() => webhookServer?.close());

test('0 of 1000 are lost while the server and the listener are killed', options, async (t) => {
    const folder = folderOf();
    const receipts = new Map();
    const delivered = new Set();
    const range = (from, to) => Array.from({ length: to - from }, (_, index) => from + index);
    for (const isLast of [false, true]) {
        const listener = listenerOf(folder, receipts, delivered);
        // What the killed listener had not handed over comes again, as from a gateway or its own store.
        await listener.hand(range(0, isLast ? COUNT / 2 : 0).filter((number) => !receipts.has(number)));
        for (const from of isLast ? [COUNT / 2, (COUNT * 3) / 4] : [0, COUNT / 4]) {
            await until(() => isUp(), 60_000);
            await listener.hand(range(from, from + 100));
            const isSafe = (number) => receipts.get(number)?.mode === 'accepted' || delivered.has(number);
            await until(() => range(from, from + 100).some(isSafe), 60_000);
            killServer();
            await listener.hand(range(from + 100, from + COUNT / 4));
        }
        await listener.end(isLast);
    }
    assert.equal(receipts.size, COUNT);
    const modes = [...receipts.values()].map((receipt) => receipt.mode);
    assert.ok(modes.includes('spooled') && modes.includes('accepted'), 'the server was away and there');
    const ids = new Set([...receipts.values()].map((receipt) => receipt.id));
    assert.equal(ids.size, COUNT);
    let done = new Set();
    await until(async () => {
        done = await idsOf('done').catch(() => done); // the server may be starting
        return done.size >= COUNT;
    }, 90_000);
    assert.deepEqual([[...ids].filter((id) => !done.has(id)), done.size], [[], COUNT], '0 lost, 0 double');
    assert.deepEqual([...(await idsOf('failed')), ...(await idsOf('rejected'))], []);
});

/** The ids of all attachments of the session with a status. */
async function idsOf(status) {
    const ids = new Set();
    for (let next = ''; next !== null;) {
        const query = `session=shop&limit=200&status=${status}${next && `&next=${encodeURIComponent(next)}`}`;
        const answer = await (
            await fetch(`${url}/media?${query}`, { headers: { Authorization: `Bearer ${token}` } })
        ).json();
        for (const { id } of answer.media) ids.add(id);
        next = answer.next;
    }
    return ids;
}

/** A listener in a process of its own; what it prints is noted in `receipts` and `delivered`. */
function listenerOf(folder, receipts, delivered) {
    const stdio = ['pipe', 'pipe', 'inherit'];
    const listener = spawn(process.execPath, [LISTENER, url, token, folder, photos], { stdio });
    const failures = [];
    createInterface({ input: listener.stdout }).on('line', (line) => {
        const report = JSON.parse(line);
        if (report.id) receipts.set(report.number, report);
        if (report.delivered) delivered.add(Number(/\d+$/.exec(report.delivered)[0]));
        if (report.refused || report.error || report.isEmpty === false) failures.push(line);
    });
    return {
        async hand(numbers) {
            for (const number of numbers) {
                listener.stdin.write(`${number}\n`);
                await new Promise((resume) => setTimeout(resume, 4));
            }
        },
        async end(isGraceful) {
            if (isGraceful) listener.stdin.end('flush\n');
            else listener.kill('SIGKILL');
            await once(listener, 'exit');
            assert.deepEqual(failures, []);
        },
    };
}

const isUp = () =>
    fetch(`${url}/healthz`).then(
        (answer) => answer.ok,
        () => false,
    );

/** Kills the web app; the test around this one starts it again after a second. */
function killServer() {
    process.kill(-Number(readFileSync(process.env.ESTEIRA_TEST_PID_FILE, 'utf8')), 'SIGKILL');
}

test('ids that the client derives are those of the server and of the gateways', options, async (t) => {
    const { client } = clientOf(t, url, { token, timeoutMs: 20_000 });
    const { client: offline } = clientOf(t, 'http://127.0.0.1:9');
    const messages = ['wppconnect', 'evolution'].flatMap((gateway) => gatewayMessages(gateway));
    const generic = { message_id: 'nota-ção-\u{1f600}-\u007f', data: readFileSync(join(photos, '0.jpg')), part: 2 };
    let accepted = 0;
    for (const { name, session, msg } of [...messages, { name: 'generic', session: 'a "shop" \\ é', msg: generic }]) {
        const receipt = await client.processMediaAsync(msg, session);
        if (receipt.mode === 'ignored') continue; // a text, or an album without its pictures
        accepted += 1;
        const derived = await offline.processMediaAsync(msg, session);
        assert.deepEqual([receipt.mode, receipt.id], ['accepted', derived.id], name);
    }
    assert.ok(accepted > 20, `${accepted}`);
});

/** The messages in the payloads of a gateway, as a library passes them to a listener. */
function gatewayMessages(gateway) {
    const names = readdirSync(join(payloads, gateway)).filter((name) => !name.startsWith('ignored'));
    return names.flatMap((name) => {
        const payload = JSON.parse(readFileSync(join(payloads, gateway, name)));
        const content = payload.data ?? payload.response ?? payload;
        const several = Array.isArray(content) ? content : (content.messages ?? [content]);
        const session = payload.session ?? payload.instance?.instanceName ?? payload.instance;
        return several.filter((msg) => msg.mimetype ?? msg.message).map((msg) => ({ name, session, msg }));
    });
}

test('results come by webhook, and over Socket.IO', options, async (t) => {
    const { client } = clientOf(t, url, { token, timeoutMs: 20_000 });
    const { client: live } = clientOf(t, url, { token, timeoutMs: 20_000 });
    const byLive = new Map();
    live.on('media.done', (event) => byLive.set(event.id, event));
    const connection = await live.connect();
    await new Promise((resume) => setTimeout(resume, 500));
    const bytes = readFileSync(join(photos, '1.jpg'));
    const receipt = await client.processMediaAsync({ message_id: `live-${Date.now()}`, data: bytes }, 'shop');
    const event = await until(() => byWebhook.get(receipt.id), 40_000);
    await until(() => byLive.get(receipt.id), 10_000);
    assert.deepEqual([event.session, event.mime, event.size], ['shop', 'image/jpeg', bytes.length]);
    assert.equal(connection.since, event.event_id);
    const content = await client.content(receipt.id);
    assert.deepEqual(Buffer.concat(await content.stream.toArray()), bytes);
    assert.equal(content.mimetype, 'image/jpeg');
    const answer = await fetch(`http://127.0.0.1:${webhookPort}/`, { method: 'POST', body: '{}' });
    assert.deepEqual([answer.status, webhookErrors.at(-1).code], [401, 'bad_signature']);
});

test('a rejected attachment is replayed with a new source', options, async (t) => {
    const { client } = clientOf(t, url, { token, timeoutMs: 20_000 });
    const data = Buffer.from('no picture at all');
    const receipt = await client.processMediaAsync({ message_id: 'broken', data, kind: 'image' }, 'shop');
    await until(async () => (await client.media(receipt.id)).status === 'rejected', 40_000);
    await client.replay(receipt.id, { data: readFileSync(join(photos, '2.jpg')) });
    await until(async () => (await client.media(receipt.id)).status === 'done', 40_000);
    await assert.rejects(client.media('0'.repeat(32)), { status: 404, code: 'not_found' });
    const { client: wrong } = clientOf(t, url, { token: 'a wrong token' });
    await assert.rejects(wrong.processMediaAsync({ message_id: 'm', data }, 'shop'), (error) => {
        assert.ok(error instanceof esteira.UnauthorizedError);
        assert.deepEqual([error.status, error.code], [401, 'unauthorized']);
        return true;
    });
});
