// The calls of the API, and webhooks.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import test from 'node:test';
import { clientOf, fakeServer } from './support/fakeServer.mjs';
import { esteira } from './support/package.mjs';

const ID = '0123456789abcdef0123456789abcdef';
const SECRET = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;
const OLD = `whsec_${Buffer.alloc(32, 2).toString('base64')}`;
const EVENT = { event_id: 'e1', type: 'media.done', id: ID, session: 'shop', name: 'a.jpg' };

function signed(body, { secret = SECRET, at = Math.floor(Date.now() / 1000), id = 'e1' } = {}) {
    const key = Buffer.from(secret.slice(6), 'base64');
    const signature = createHmac('sha256', key).update(`${id}.${at}.${body}`).digest('base64');
    return { 'webhook-id': id, 'webhook-timestamp': String(at), 'webhook-signature': `v1,AAAA v1,${signature}` };
}

test('media, replay and content call the API with the token', async (t) => {
    const fake = await fakeServer(t, (request) => {
        if (!request.url.endsWith('/content')) return [200, { id: ID, status: 'done' }];
        return [
            200,
            'the bytes',
            { 'Content-Type': 'image/jpeg', 'Content-Disposition': "inline; filename*=UTF-8''a%20b.jpg" },
        ];
    });
    const { client } = clientOf(t, fake.url);
    assert.equal((await client.media(ID)).status, 'done');
    await client.replay(ID, { data: Buffer.from('x'), media_key: null });
    assert.deepEqual(JSON.parse(fake.requests.at(-1).body), { data: 'eA==', media_key: null });
    const content = await client.content(ID, { range: 'bytes=0-8' });
    assert.deepEqual([content.mimetype, content.filename], ['image/jpeg', 'a b.jpg']);
    assert.equal(Buffer.concat(await content.stream.toArray()).toString(), 'the bytes');
    assert.equal(fake.requests.at(-1).headers.range, 'bytes=0-8');
    const calls = fake.requests.map((one) => [one.method, one.path, one.headers.authorization]);
    const auth = 'Bearer a token of the tests';
    assert.deepEqual(calls, [
        ['GET', `/media/${ID}`, auth],
        ['POST', `/media/${ID}/replay`, auth],
        ['GET', `/media/${ID}/content`, auth],
    ]);
    await assert.rejects(client.media('../stats'), { code: 'bad_option' });
});

test('content in an object store is read without the token', async (t) => {
    const store = await fakeServer(t, () => [200, 'from the store']);
    const fake = await fakeServer(t, () => [307, '', { Location: `${store.url}/bucket/x?signature=y` }]);
    const { client } = clientOf(t, fake.url);
    const { stream } = await client.content(ID);
    assert.equal(Buffer.concat(await stream.toArray()).toString(), 'from the store');
    assert.equal(store.requests[0].headers.authorization, undefined);
});

test('refusals of the API are typed', async (t) => {
    const fake = await fakeServer(t, () => [410, { error: { code: 'not_found', message: 'it was deleted' } }]);
    const { client } = clientOf(t, fake.url);
    await assert.rejects(client.content(ID), { name: 'RefusedError', status: 410, code: 'not_found' });
});

test('a webhook is verified with any of the secrets, and its time', () => {
    const body = JSON.stringify(EVENT);
    const verify = (headers, secrets = [SECRET, OLD], text = body) => esteira.verifyWebhook(headers, text, secrets);
    assert.deepEqual(verify(signed(body)), EVENT);
    assert.deepEqual(verify(signed(body, { secret: OLD })), EVENT);
    assert.deepEqual(verify(new Headers(signed(body)), SECRET, Buffer.from(body)), EVENT);
    assert.deepEqual(verify(signed(body), `${OLD}, ${SECRET}`), EVENT, 'the setting, with two secrets');
    const named = Object.entries(signed(body)).map(([name, value]) => [name.toUpperCase(), value]);
    assert.deepEqual(verify(Object.fromEntries(named)), EVENT);
    for (const [headers, text, code] of [
        [{}, body, 'bad_signature'],
        [signed(body), `${body} `, 'bad_signature'],
        [signed(body, { secret: `whsec_${Buffer.alloc(32, 3).toString('base64')}` }), body, 'bad_signature'],
        [signed(body, { at: Math.floor(Date.now() / 1000) - 301 }), body, 'too_old'],
        [signed('[]'), '[]', 'bad_body'],
        [signed('{'), '{', 'bad_body'],
    ]) {
        assert.throws(() => verify(headers, undefined, text), { name: 'WebhookError', code });
    }
    assert.throws(() => verify(signed(body), []), { code: 'bad_option' });
    assert.throws(() => verify(signed(body), ['whsec_']), { code: 'bad_option' });
});

test('the handler answers after the listeners, once for each result', async (t) => {
    const { client, errors } = clientOf(t, 'http://127.0.0.1:9', { webhookSecret: `${SECRET},${OLD}` });
    const heard = [];
    let isBroken = true;
    client.on('media.done', async (event) => {
        if (isBroken) throw new Error('the database is away');
        heard.push(event.name);
    });
    const post = await handlerServer(t, client.webhook());
    const body = JSON.stringify(EVENT);
    assert.equal(await post(body, signed(body)), 500);
    assert.match(errors[0].message, /the database is away/);
    isBroken = false;
    assert.equal(await post(body, signed(body)), 204);
    assert.equal(await post(body, signed(body)), 204);
    assert.deepEqual(heard, ['a.jpg']);
    assert.equal(await post(body, {}), 401);
    assert.equal(await post(' '.repeat(2 ** 20 + 1), signed(body)), 413);
});

test('media.expired is answered before its listeners, which replay', async (t) => {
    const fake = await fakeServer(t, () => {
        if (fake.requests.length === 1) return [409, { error: { code: 'not_ended', message: 'not yet' } }];
        return [202, { id: ID, status: 'received', stage: 'fetch' }];
    });
    const { client } = clientOf(t, fake.url, { webhookSecret: SECRET });
    let replayed;
    client.on('media.expired', (event) => (replayed = client.replay(event.id, { url: 'https://media.example/new' })));
    const post = await handlerServer(t, client.webhook());
    const body = JSON.stringify({ ...EVENT, type: 'media.expired' });
    assert.equal(await post(body, signed(body)), 204);
    assert.deepEqual(await replayed, { id: ID, status: 'received', stage: 'fetch' });
    assert.equal(fake.requests.length, 2);
});

test('a body that Express has parsed is named', async (t) => {
    const { client, errors } = clientOf(t, 'http://127.0.0.1:9', { webhookSecret: SECRET });
    const handler = client.webhook();
    const body = JSON.stringify(EVENT);
    const parsed = await handlerServer(t, (request, response) =>
        handler(Object.assign(request, { body: EVENT }), response),
    );
    assert.equal(await parsed(body, signed(body)), 500);
    assert.match(errors[0].message, /express\.raw/);
    const raw = await handlerServer(t, (request, response) => {
        return handler(Object.assign(request, { body: Buffer.from(body) }), response);
    });
    assert.equal(await raw(body, signed(body)), 204);
});

test('a missing socket.io-client is named', async (t) => {
    const { client } = clientOf(t, 'http://127.0.0.1:9');
    await assert.rejects(client.connect(), { code: 'bad_option', message: /npm install socket\.io-client/ });
});

/** Serves a handler; returns a function that posts to it and returns the status. */
async function handlerServer(t, handler) {
    const server = createServer(handler);
    await new Promise((resume) => server.listen(0, '127.0.0.1', resume));
    t.after(() => server.close());
    const url = `http://127.0.0.1:${server.address().port}/`;
    return async (body, headers) => (await fetch(url, { method: 'POST', body, headers })).status;
}
