// What goes wrong on the listener's machine: the disk, the clock, files of others, messages of an odd form.
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import {
    chmodSync,
    mkdirSync,
    readFileSync,
    readdirSync,
    statSync,
    truncateSync,
    unlinkSync,
    utimesSync,
    writeFileSync,
} from 'node:fs';
import files from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import test from 'node:test';
import { accept, clientOf, fakeServer, folderOf, message, until } from './support/fakeServer.mjs';

const NOWHERE = 'http://127.0.0.1:9';
const entriesIn = (folder) => readdirSync(folder).filter((name) => name.endsWith('.json'));

/** Writes hand-overs as another process would. */
function spooled(folder, ...ids) {
    ids.forEach((id, number) => {
        const entry = { v: 1, path: '/hooks/media', id: 'x', message_id: id, at: Date.now(), body: message(id) };
        writeFileSync(join(folder, `179474000000${number}-00000000-000000.json`), JSON.stringify(entry));
    });
}

/** Replaces a function of node:fs/promises until the end of the test. */
function replace(t, name, make) {
    const original = files[name];
    const set = (value) => {
        files[name] = value;
        syncBuiltinESMExports();
    };
    set(make(original));
    t.after(() => set(original));
}

const diskFull = () => Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });

test('a full disk does not keep what is in the spool from being sent', async (t) => {
    replace(t, 'open', (open) => async (path, ...rest) => {
        const file = await open(path, ...rest);
        if (String(path).endsWith('lock')) file.writeFile = () => Promise.reject(diskFull());
        return file;
    });
    const fake = await fakeServer(t);
    const folder = folderOf();
    spooled(folder, 'm1', 'm2');
    const { client, errors } = clientOf(t, fake.url, { spool: { folder } });
    assert.ok(await client.flush(10_000));
    assert.deepEqual(errors, []);
    await until(() => readdirSync(folder).length === 0);
});

test('a lock that was written before the clock was set back is taken over', async (t) => {
    const fake = await fakeServer(t);
    const folder = folderOf();
    spooled(folder, 'm1');
    writeFileSync(join(folder, 'lock'), '1 of a killed process');
    const future = new Date(Date.now() + 3_600_000);
    utimesSync(join(folder, 'lock'), future, future);
    const { client } = clientOf(t, fake.url, { spool: { folder } });
    assert.ok(await client.flush(10_000));
});

test('the wait of a hand-over is bounded although the clock is set back', async (t) => {
    const fake = await fakeServer(t, () => null);
    const { client } = clientOf(t, fake.url, { timeoutMs: 300, concurrency: 1, spool: false });
    const now = Date.now;
    t.after(() => {
        Date.now = now;
    });
    const ends = Promise.allSettled(['m1', 'm2', 'm3'].map((id) => client.processMediaAsync(message(id), 'shop')));
    Date.now = () => now() - 3_600_000;
    const began = performance.now();
    for (const end of await ends) assert.equal(end.reason.code, 'timeout');
    assert.ok(performance.now() - began < 10_000);
    assert.ok(fake.requests.length <= 1);
});

test('an entry that can be neither read nor moved aside blocks no other', async (t) => {
    const fake = await fakeServer(t);
    const folder = folderOf();
    spooled(folder, 'replaced', 'm1');
    unlinkSync(join(folder, '1794740000000-00000000-000000.json'));
    mkdirSync(join(folder, '1794740000000-00000000-000000.json'));
    writeFileSync(join(folder, 'aside'), 'a file in the place of the folder');
    const { errors } = clientOf(t, fake.url, { spool: { folder } });
    await until(() => fake.requests.length === 1 && errors.length === 1);
    assert.equal(errors[0].code, 'spool_failed');
    assert.deepEqual(entriesIn(folder), ['1794740000000-00000000-000000.json']);
});

test('files of others in the folder, and its mode, stay as they are', async (t) => {
    const folder = folderOf();
    chmodSync(folder, 0o750);
    const others = ['config.json', 'firmware.bin', 'draft.tmp', '1794740000001-report.bin'];
    for (const name of others) {
        writeFileSync(join(folder, name), 'not of the spool');
        utimesSync(join(folder, name), new Date(0), new Date(0));
    }
    const { client } = clientOf(t, NOWHERE, { spool: { folder } });
    assert.equal((await client.processMediaAsync(message('m1'), 'shop')).mode, 'spooled');
    for (const name of others) assert.equal(readFileSync(join(folder, name), 'utf8'), 'not of the spool');
    assert.equal(statSync(folder).mode & 0o777, 0o750);
});

test('what was moved aside counts for the limit of the spool', async (t) => {
    const folder = folderOf();
    mkdirSync(join(folder, 'aside'));
    writeFileSync(join(folder, 'aside', '1794740000001-00000000-000001.bin'), 'x'.repeat(5000));
    const { client } = clientOf(t, NOWHERE, { spool: { folder, maxBytes: 5000 } });
    await assert.rejects(client.processMediaAsync(message('m1'), 'shop'), { code: 'spool_full' });
});

test('a file that vanishes while it is sent or spooled is named, and the server is not taken for away', async (t) => {
    const fake = await fakeServer(t);
    const path = join(folderOf(), 'photo.jpg');
    writeFileSync(path, 'a photo');
    replace(t, 'stat', (stat) => async (given, ...rest) => {
        const status = await stat(given, ...rest);
        if (given === path) unlinkSync(path);
        return status;
    });
    const { client, folder } = clientOf(t, fake.url);
    const gone = { name: 'MessageError', code: 'bad_message', message: /cannot be read \(ENOENT\)/ };
    await assert.rejects(client.processMediaAsync({ message_id: 'm1', file: path }, 'shop'), gone);
    assert.equal((await client.processMediaAsync(message('m2'), 'shop')).mode, 'accepted');
    const { client: away } = clientOf(t, NOWHERE, { spool: { folder } });
    await away.processMediaAsync(message('m3'), 'shop');
    writeFileSync(path, 'a photo');
    await assert.rejects(away.processMediaAsync({ message_id: 'm4', file: path }, 'shop'), gone);
});

test('a file that grows while it is spooled is kept as it was read', async (t) => {
    const path = join(folderOf(), 'voice.ogg');
    writeFileSync(path, 'half of it');
    replace(t, 'stat', (stat) => async (given, ...rest) => {
        const status = await stat(given, ...rest);
        if (given === path) writeFileSync(path, `${readFileSync(path)} and more`);
        return status;
    });
    const { client, folder } = clientOf(t, NOWHERE);
    assert.equal((await client.processMediaAsync({ message_id: 'm1', file: path }, 'shop')).mode, 'spooled');
    const [name] = entriesIn(folder);
    const { file } = JSON.parse(readFileSync(join(folder, name)));
    assert.equal(statSync(join(folder, file.name)).size, file.size);
    await client.close();
    const fake = await fakeServer(t);
    const { client: next, errors } = clientOf(t, fake.url, { spool: { folder } });
    assert.ok(await next.flush(10_000));
    assert.deepEqual(errors, []);
});

test('a redirect keeps what is in the spool, and is reported once', async (t) => {
    const fake = await fakeServer(t, () => [307, '', { Location: 'https://login.example/' }]);
    const folder = folderOf();
    spooled(folder, 'm1', 'm2');
    const { client, errors } = clientOf(t, fake.url, { spool: { folder } });
    await until(() => errors.length > 0);
    assert.deepEqual([errors.map((error) => error.code), entriesIn(folder).length], [['redirected'], 2]);
    await assert.rejects(client.processMediaAsync(message('m3'), 'shop'), { code: 'redirected', status: 307 });
    const data = Buffer.from('bytes');
    await assert.rejects(client.processMediaAsync({ message_id: 'm4', data }, 'shop'), { code: 'redirected' });
    fake.answer = accept;
    assert.ok(await client.flush(5000));
});

test('Retry-After may be a date', async (t) => {
    let value;
    const fake = await fakeServer(t, () => [429, '', { 'Retry-After': value }]);
    const { client } = clientOf(t, fake.url, { spool: false });
    const waitFor = async (text) => {
        value = text;
        return (await client.processMediaAsync(message('m'), 'shop').catch((error) => error)).retryAfterS;
    };
    const seconds = await waitFor(new Date(Date.now() + 60_000).toUTCString());
    assert.ok(seconds > 50 && seconds <= 60, `${seconds} s`);
    assert.equal(await waitFor(new Date(0).toUTCString()), 0);
    assert.equal(await waitFor(new Date(Date.now() + 1e9).toUTCString()), 600);
    assert.equal(await waitFor('soon'), null);
});

test('messages that refer to themselves are handed over, ids that are no text are refused', async (t) => {
    const fake = await fakeServer(t);
    const { client } = clientOf(t, fake.url);
    const circular = message('m1', { extra: { list: [] } });
    for (let count = 0; count < 4; count += 1) circular.extra.list.push(circular, circular.extra);
    assert.equal((await client.processMediaAsync(circular, 'shop')).mode, 'accepted');
    for (const id of [{}, Symbol('x'), true, 1.5, null, '']) {
        await assert.rejects(client.processMediaAsync(message(id), 'shop'), { code: 'bad_message' });
    }
    const withBytes = { message_id: 7n, data: new Uint8Array(1), media_key: [1, 2, 3], from_me: true };
    await client.processMediaAsync(withBytes, 'shop');
    const form = fake.requests.at(-1).body.toString();
    assert.match(form, /name="message_id"\r\n\r\n7\r\n[^]*name="media_key"\r\n\r\n\[1,2,3\]\r\n[^]*"from_me"\r\n\r\ntrue/);
});

test('a file is never in memory as a whole', async (t) => {
    const fake = await fakeServer(t, accept, (request) => finished(request.resume()));
    const path = join(folderOf(), 'video.mp4');
    writeFileSync(path, '');
    truncateSync(path, 200 * 2 ** 20);
    const { client } = clientOf(t, fake.url);
    const before = process.memoryUsage().rss;
    let most = 0;
    const timer = setInterval(() => {
        most = Math.max(most, process.memoryUsage().rss - before);
    }, 5);
    t.after(() => clearInterval(timer));
    await client.processMediaAsync({ message_id: 'm1', file: path }, 'shop');
    assert.ok(most < 120 * 2 ** 20, `${most >> 20} MB`);
});

test('closing does not wait for a server that hangs, and keeps the spool', async (t) => {
    const fake = await fakeServer(t, () => null);
    const folder = folderOf();
    spooled(folder, 'm1');
    const { client, errors } = clientOf(t, fake.url, { requestTimeoutMs: 60_000, spool: { folder } });
    await until(() => fake.requests.length === 1);
    const began = performance.now();
    await client.close();
    assert.ok(performance.now() - began < 10_000);
    assert.deepEqual([entriesIn(folder).length, errors, readdirSync(folder).includes('lock')], [1, [], false]);
});

test('a signal that outlives many contents does not collect listeners', async (t) => {
    const fake = await fakeServer(t, (request) => (request.url.includes('aaaa') ? [200, 'bytes'] : [404, '{}']));
    const { client } = clientOf(t, fake.url, { spool: false });
    const { signal } = new AbortController();
    for await (const part of (await client.content('a'.repeat(32), { signal })).stream) assert.equal(String(part), 'bytes');
    await assert.rejects(client.content('b'.repeat(32), { signal }));
    await until(() => getEventListeners(signal, 'abort').length === 0);
});
