// Hand-overs: what the server's answers mean, and what happens while it is away.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, statSync, utimesSync, writeFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { accept, clientOf, fakeServer, folderOf, message, until } from './support/fakeServer.mjs';
import { esteira } from './support/package.mjs';

const entriesIn = (folder) => readdirSync(folder).filter((name) => name.endsWith('.json'));
const error = (status, code, headers) => () => [status, { error: { code, message: `${code}.` } }, headers];

test('a hand-over returns the server’s receipt', async (t) => {
    const fake = await fakeServer(t);
    const { client } = clientOf(t, fake.url);
    assert.deepEqual(await client.processMediaAsync(message('m1'), 'shop'), {
        id: 'id of m1',
        messageId: 'm1',
        mode: 'accepted',
        status: 'received',
        attachments: [{ id: 'id of m1', messageId: 'm1', status: 'received' }],
        reason: null,
    });
    fake.answer = () => [202, { accepted: [], ignored: 1, ignored_by_rule: { 0: 1 } }];
    assert.equal((await client.processMediaAsync(message('m2'), 'shop')).mode, 'ignored');
});

test('final answers reject with status and code, and spool nothing', async (t) => {
    const fake = await fakeServer(t);
    const { client, folder } = clientOf(t, fake.url);
    for (const [status, code, name] of [
        [400, 'bad_payload', 'RefusedError'],
        [401, 'unauthorized', 'UnauthorizedError'],
        [403, 'forbidden', 'UnauthorizedError'],
        [404, 'not_found', 'RefusedError'],
        [413, 'too_large', 'RefusedError'],
    ]) {
        fake.answer = error(status, code);
        await assert.rejects(client.processMediaAsync(message('m'), 'shop'), { name, status, code, retryable: false });
    }
    fake.answer = () => [413, '<h1>nginx</h1>'];
    await assert.rejects(client.processMediaAsync(message('m'), 'shop'), { status: 413, code: 'http_413' });
    fake.answer = () => [302, '', { Location: 'https://elsewhere.example/' }];
    await assert.rejects(client.processMediaAsync(message('m'), 'shop'), { status: 302, code: 'redirected' });
    assert.deepEqual(entriesIn(folder), []);
});

for (const [name, answer, reason] of [
    ['408', error(408, 'bad_payload'), 'bad_payload'],
    ['429', error(429, 'too_many_requests', { 'Retry-After': '0' }), 'too_many_requests'],
    ['503', error(503, 'catalogue', { 'Retry-After': '0' }), 'catalogue'],
    ['502 of a proxy', () => [502, '<h1>Bad gateway</h1>'], 'http_502'],
    ['404 of a proxy', () => [404, '404 page not found'], 'http_404'],
    ['200 of something else', () => [200, '<h1>It works</h1>'], 'bad_reply'],
    ['200 with other JSON', () => [200, '{}'], 'bad_reply'],
    ['no answer', () => null, 'timeout'],
    ['a broken connection', (request) => void request.socket.destroy(), 'unreachable'],
]) {
    test(`${name} spools, and the hand-over is delivered later`, async (t) => {
        const fake = await fakeServer(t, answer);
        const { client, folder } = clientOf(t, fake.url, { timeoutMs: 1500, requestTimeoutMs: 1500 });
        const delivered = [];
        client.on('delivered', (receipt) => delivered.push(receipt));
        const began = Date.now();
        const receipt = await client.processMediaAsync(message('m1'), 'shop');
        assert.ok(Date.now() - began < 9000, 'the wait is bounded');
        assert.deepEqual([receipt.mode, receipt.reason, receipt.status], ['spooled', reason, null]);
        assert.match(receipt.id, /^[0-9a-f]{32}$/);
        assert.equal((await client.processMediaAsync(message('m2'), 'shop')).mode, 'spooled');
        fake.answer = accept;
        await until(() => delivered.length === 2);
        assert.deepEqual(delivered.map((one) => one.messageId).sort(), ['m1', 'm2']);
        assert.deepEqual(entriesIn(folder), []);
        assert.equal((await client.processMediaAsync(message('m3'), 'shop')).mode, 'accepted');
    });
}

test('the spool is private, ordered, and continued by the next process', async (t) => {
    const fake = await fakeServer(t, () => null);
    await fake.stop();
    const { client, folder } = clientOf(t, fake.url);
    const file = join(folderOf(), 'voice.ogg');
    writeFileSync(file, 'a voice note');
    const names = Array.from({ length: 20 }, (_, number) => `m${number}`);
    for (const name of names) await client.processMediaAsync(message(name), 'shop');
    await client.processMediaAsync({ message_id: 'voice', file, kind: 'ptt' }, 'shop');
    writeFileSync(file, 'it may change now');
    assert.equal(statSync(folder).mode & 0o777, 0o700);
    for (const name of readdirSync(folder)) assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600, name);
    const spooled = entriesIn(folder).map((name) => JSON.parse(readFileSync(join(folder, name))).message_id);
    assert.deepEqual(spooled, [...names, 'voice']);
    await client.close();
    await fake.start();
    fake.answer = accept;
    const { client: next } = clientOf(t, fake.url, { spool: { folder } });
    assert.ok(await next.flush(20_000));
    const bodies = fake.requests.map((request) => request.body.toString());
    assert.equal(bodies.length, 21);
    assert.deepEqual(
        bodies
            .slice(0, 20)
            .map((body) => JSON.parse(body).message_id)
            .sort(),
        names.sort(),
    );
    assert.match(bodies[20], /name="kind"\r\n\r\nptt\r\n[^]*\r\n\r\na voice note\r\n--/);
    await until(() => readdirSync(folder).length === 0);
});

test('a full spool rejects, and the fallback is called if there is one', async (t) => {
    const { client } = clientOf(t, 'http://127.0.0.1:9', { spool: { maxEntries: 2 } });
    const modes = [
        await client.processMediaAsync(message('m1'), 'shop'),
        await client.processMediaAsync(message('m2'), 'shop'),
    ];
    assert.deepEqual(
        modes.map((receipt) => receipt.mode),
        ['spooled', 'spooled'],
    );
    await assert.rejects(client.processMediaAsync(message('m3'), 'shop'), {
        name: 'SpoolFullError',
        code: 'spool_full',
    });
    const large = clientOf(t, 'http://127.0.0.1:9', { spool: { maxBytes: 1000 } });
    const data = Buffer.alloc(2000);
    await assert.rejects(large.client.processMediaAsync({ message_id: 'm', data }, 'shop'), { code: 'spool_full' });
    assert.deepEqual(readdirSync(large.folder), []);
    const calls = [];
    const fallback = async (msg, session, reason) => calls.push([msg.message_id, session, reason.code]);
    const { client: third } = clientOf(t, 'http://127.0.0.1:9', { spool: { maxEntries: 1 }, fallback });
    await third.processMediaAsync(message('m1'), 'shop');
    const receipt = await third.processMediaAsync(message('m2'), 'shop');
    assert.deepEqual([receipt.mode, receipt.reason, receipt.result], ['fallback', 'spool_full', 1]);
    assert.deepEqual(calls, [['m2', 'shop', 'spool_full']]);
});

test('a burst does not exceed the limits of the spool', async (t) => {
    const { client, folder } = clientOf(t, 'http://127.0.0.1:9', { spool: { maxEntries: 10 } });
    const names = Array.from({ length: 50 }, (_, number) => `m${number}`);
    const ends = await Promise.allSettled(names.map((name) => client.processMediaAsync(message(name), 'shop')));
    assert.equal(ends.filter((end) => end.status === 'fulfilled').length, 10);
    assert.equal(entriesIn(folder).length, 10);
    const full = ends.find((end) => end.status === 'rejected').reason;
    assert.match(full.message, /the spool is full: .*; before: the server cannot be reached/);
});

test('without a spool the failure rejects, or the fallback processes the message', async (t) => {
    const fake = await fakeServer(t, error(503, 'catalogue', { 'Retry-After': '7' }));
    const { client } = clientOf(t, fake.url, { spool: false });
    const expected = { name: 'UnavailableError', status: 503, code: 'catalogue', retryable: true, retryAfterS: 7 };
    await assert.rejects(client.processMediaAsync(message('m'), 'shop'), expected);
    const { client: other } = clientOf(t, fake.url, { spool: false, fallback: () => 'done here' });
    const receipt = await other.processMediaAsync(message('m'), 'shop');
    assert.deepEqual([receipt.mode, receipt.result, receipt.reason], ['fallback', 'done here', 'catalogue']);
    fake.answer = error(400, 'bad_payload');
    await assert.rejects(other.processMediaAsync(message('m'), 'shop'), { code: 'bad_payload' });
});

test('a spool that cannot be written is named by the system’s code', async (t) => {
    const parent = folderOf();
    writeFileSync(join(parent, 'file'), '');
    const { client } = clientOf(t, 'http://127.0.0.1:9', { spool: { folder: join(parent, 'file', 'spool') } });
    await assert.rejects(client.processMediaAsync(message('m'), 'shop'), (failure) => {
        assert.deepEqual([failure.name, failure.code], ['SpoolError', 'spool_failed']);
        assert.match(failure.message, /ENOTDIR/);
        return true;
    });
});

test('damaged, refused and old hand-overs are moved aside, reported once, and block no others', async (t) => {
    const fake = await fakeServer(t, (request, body) => {
        const { message_id } = JSON.parse(body);
        return message_id === 'refused' ? error(400, 'bad_payload')() : accept(request, body);
    });
    const folder = folderOf();
    const entry = (id, fields) => {
        const at = Date.now();
        return JSON.stringify({
            v: 1,
            path: '/hooks/media',
            id: 'x',
            message_id: id,
            at,
            body: message(id),
            ...fields,
        });
    };
    const texts = [
        entry('whole').slice(0, 90),
        entry('elsewhere', { path: '/media/x/replay' }),
        entry('outside', { body: undefined, fields: {}, file: { name: '../../etc/passwd', size: 1 } }),
        entry('no bytes', {
            body: undefined,
            fields: {},
            file: { name: '1794740000004-00000000-000004.bin', size: 5 },
        }),
        entry('refused'),
        entry('old', { at: Date.now() - 90 * 86_400_000 }),
        entry('good'),
    ];
    texts.forEach((text, number) => {
        writeFileSync(join(folder, `${1794740000001 + number}-00000000-00000${number + 1}.json`), text);
    });
    const { client, errors } = clientOf(t, fake.url, { spool: { folder } });
    assert.ok(await client.flush(10_000));
    await until(() => errors.length === 6);
    const codes = ['bad_payload', 'spool_damaged', 'spool_damaged', 'spool_damaged', 'spool_damaged', 'spool_expired'];
    assert.deepEqual(errors.map((one) => one.code).sort(), codes);
    for (const one of errors) assert.match(one.message, /^179474000000\d-.* was moved aside/);
    assert.equal(entriesIn(join(folder, 'aside')).length, 6);
    assert.deepEqual(fake.requests.map((one) => JSON.parse(one.body).message_id).sort(), ['good', 'refused']);
});

test('a wrong token keeps what is in the spool', async (t) => {
    const fake = await fakeServer(t, error(503, 'catalogue'));
    const { client, folder, errors } = clientOf(t, fake.url);
    await client.processMediaAsync(message('m1'), 'shop');
    fake.answer = error(401, 'unauthorized');
    await until(() => errors.length === 1);
    assert.deepEqual([errors[0].code, entriesIn(folder).length], ['unauthorized', 1]);
    await assert.rejects(client.processMediaAsync(message('m2'), 'shop'), { code: 'unauthorized' });
    fake.answer = accept;
    assert.ok(await client.flush(5000));
});

test('an entry that the server cannot process blocks no others', async (t) => {
    const fake = await fakeServer(t, error(503, 'catalogue'));
    const { client } = clientOf(t, fake.url);
    for (let number = 0; number < 12; number += 1) await client.processMediaAsync(message(`m${number}`), 'shop');
    const seen = new Set();
    fake.answer = (request, body) => {
        if (JSON.parse(body).message_id === 'm0') return error(503, 'internal', { 'Retry-After': '0' })();
        seen.add(JSON.parse(body).message_id);
        return accept(request, body);
    };
    await until(() => seen.size === 11);
});

test('one process sends from a folder, and another takes over from a killed one', async (t) => {
    const fake = await fakeServer(t);
    const folder = folderOf();
    writeFileSync(join(folder, 'lock'), '1 of another process');
    const body = message('m1');
    const entry = { v: 1, path: '/hooks/media', id: 'x', message_id: 'm1', at: Date.now(), body };
    writeFileSync(join(folder, '1794740000001-00000000-000001.json'), JSON.stringify(entry));
    const { client } = clientOf(t, fake.url, { spool: { folder } });
    assert.equal(await client.flush(1500), false);
    assert.equal(fake.requests.length, 0);
    const past = new Date(Date.now() - 60_000);
    utimesSync(join(folder, 'lock'), past, past);
    assert.ok(await client.flush(10_000));
    await until(() => readdirSync(folder).length === 0);
});

test('hand-overs at the same time share few connections and the time', async (t) => {
    let [open, most] = [0, 0];
    const fake = await fakeServer(t, async (request, body) => {
        most = Math.max(most, (open += 1));
        await new Promise((resume) => setTimeout(resume, 50));
        open -= 1;
        return accept(request, body);
    });
    const { client } = clientOf(t, fake.url, { concurrency: 4, timeoutMs: 300 });
    const names = Array.from({ length: 40 }, (_, number) => `m${number}`);
    const receipts = await Promise.all(names.map((name) => client.processMediaAsync(message(name), 'shop')));
    assert.ok(receipts.some((receipt) => receipt.mode === 'spooled'));
    assert.ok(most <= 12, `${most} at a time: 4 direct, 8 from the spool`);
    assert.ok(await client.flush(15_000));
    assert.deepEqual(new Set(fake.requests.map((one) => JSON.parse(one.body).message_id)), new Set(names));
});

test('few uploads are sent at the same time', async (t) => {
    let [open, most] = [0, 0];
    const fake = await fakeServer(t, async (request, body) => {
        most = Math.max(most, (open += 1));
        await new Promise((resume) => setTimeout(resume, 20));
        open -= 1;
        return accept(request, body);
    });
    const { client } = clientOf(t, fake.url);
    const uploads = Array.from({ length: 12 }, (_, number) => ({ message_id: `m${number}`, data: Buffer.from('x') }));
    await Promise.all(uploads.map((upload) => client.processMediaAsync(upload, 'shop')));
    assert.equal(most, 4);
});

test('options are checked, and errors hold no secret', async (t) => {
    const make = (options) => () => new esteira.EsteiraClient({ token: 'secret-1', spool: false, ...options });
    for (const [options, text] of [
        [{ url: 'nowhere' }, /url/],
        [{ url: 'ftp://x' }, /http/],
        [{ url: 'http://user:secret-1@x/' }, /password/],
        [{ token: '' }, /API_TOKEN/],
        [{ token: 'secret-1\n' }, /line end/],
        [{ timeoutMs: 0 }, /timeoutMs/],
        [{ spool: { maxEntries: Number.NaN } }, /spool\.maxEntries/],
    ]) {
        assert.throws(make(options), (failure) => {
            assert.deepEqual([failure.name, failure.code], ['OptionError', 'bad_option']);
            assert.match(failure.message, text);
            assert.doesNotMatch(failure.message, /secret-1/);
            return true;
        });
    }
    const { client } = clientOf(t, 'http://127.0.0.1:9', { spool: false });
    const failure = await client.processMediaAsync(message('m', { media_key: 'secret-2' }), 'shop').catch((one) => one);
    assert.doesNotMatch(`${failure.stack}${JSON.stringify(failure)}`, /secret-2|a token of/);
});

test('entries that a process has left half written are cleared', async (t) => {
    const folder = folderOf();
    mkdirSync(join(folder, 'aside'));
    const old = new Date(Date.now() - 2 * 3_600_000);
    for (const name of ['1794740000001-00000000-000001.json.tmp', '1794740000001-00000000-000001.bin', 'notes.txt']) {
        writeFileSync(join(folder, name), 'x');
        utimesSync(join(folder, name), old, old);
    }
    writeFileSync(join(folder, '1794740000002-00000000-000001.bin'), 'being written');
    const { client } = clientOf(t, 'http://127.0.0.1:9', { spool: { folder } });
    await client.processMediaAsync(message('m'), 'shop');
    const left = readdirSync(folder).filter((name) => !name.endsWith('.json') && name !== 'lock');
    assert.deepEqual(left.sort(), ['1794740000002-00000000-000001.bin', 'aside', 'notes.txt']);
});
