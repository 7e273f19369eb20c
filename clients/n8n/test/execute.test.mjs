// The node with a real Esteira at ESTEIRA_URL, which has the API_TOKEN, and a file at MEDIA_URL.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { esteira, executeFunctions, NodeApiError, NodeOperationError } from './support/n8n.mjs';

const { ESTEIRA_URL: url, API_TOKEN: token, MEDIA_URL: mediaUrl, MEDIA_FILE: mediaFile } = process.env;
const credential = { url: `${url}/`, token };
const skip = !url && 'ESTEIRA_URL is not set';

let photo;
before(() => {
    if (mediaFile) photo = readFileSync(mediaFile);
});

const execute = async (given) => (await esteira.execute.call(executeFunctions({ credential, ...given })))[0];
const failure = async (given) => execute(given).then(() => assert.fail('no error'), (error) => error);
const binaryItem = () => ({ json: {}, binary: { data: { data: photo.toString('base64'), fileName: 'São João.jpg', mimeType: 'image/jpeg' } } });

test('file of an earlier node is stored, and its content is the same', { skip }, async () => {
    const parameters = { source: 'binary', session: 'shop', messageId: 'n1', wait: 60, additionalFields: { caption: 'Oi' } };
    const [ended] = await execute({ parameters, items: [binaryItem()] });
    assert.equal(ended.json.mode, 'ended');
    assert.equal(ended.json.status, 'done');
    assert.equal(ended.json.caption, 'Oi');
    assert.equal(ended.json.filename, 'São João.jpg');
    const [content] = await execute({ parameters: { operation: 'getContent' }, items: [{ json: { id: ended.json.id } }] });
    assert.deepEqual(Buffer.from(content.binary.data.data, 'base64'), photo);
    assert.deepEqual(content.json, { id: ended.json.id, name: 'São João.jpg', mime: 'image/jpeg' });
    const [record] = await execute({ parameters: { operation: 'get' }, items: [{ json: { id: ended.json.id } }] });
    assert.equal(record.json.history.at(-1).outcome, 'done');
});

test('each item is handed over, and its output is paired with it', { skip }, async () => {
    const items = ['n2', 'n3', 'n2'].map((id) => ({ json: { id } }));
    const outputs = await execute({ parameters: { source: 'url', session: 'shop', url: mediaUrl }, items });
    assert.deepEqual(outputs.map(({ json }) => json.mode), ['accepted', 'accepted', 'accepted']);
    assert.deepEqual(outputs.map(({ pairedItem }) => pairedItem.item), [0, 1, 2]);
    assert.equal(outputs[0].json.id, outputs[2].json.id);
    assert.notEqual(outputs[0].json.id, outputs[1].json.id);
});

test('messages of a gateway are accepted with the token, texts are ignored', { skip }, async () => {
    const message = { event: 'onmessage', session: 'shop', type: 'image', from: '5511999990000@c.us', body: photo.toString('base64') };
    const bodies = [
        { ...message, id: 'false_5511999990000@c.us_3EB0A1' },
        { ...message, type: 'chat', body: 'Oi', id: 'false_5511999990000@c.us_3EB0A2' },
    ];
    const outputs = await execute({ parameters: { gateway: 'wppconnect' }, items: bodies.map((body) => ({ json: { body } })) });
    assert.deepEqual(outputs.map(({ json }) => json.mode), ['accepted', 'ignored']);
    assert.equal(outputs[1].json.id, null);
    const parameters = { gateway: 'wppconnect', message: JSON.stringify(bodies[0]) };
    assert.equal((await execute({ parameters }))[0].json.id, outputs[0].json.id);
});

test('expired attachment is replayed with a file', { skip }, async () => {
    const parameters = { source: 'url', session: 'shop', messageId: 'n4', url: `${mediaUrl}-is-gone`, wait: 60 };
    const [{ json }] = await execute({ parameters });
    assert.notEqual(json.status, 'done');
    const replayed = await execute({
        parameters: { operation: 'replay', mediaId: json.id, replaySource: 'binary' },
        items: [binaryItem()],
    });
    assert.equal(replayed[0].json.stage, 'fetch');
    const again = { source: 'url', session: 'shop', messageId: 'n4', url: mediaUrl, wait: 60 };
    assert.equal((await execute({ parameters: again }))[0].json.status, 'done');
});

test('refusals are typed errors without the token', { skip }, async () => {
    const handOver = { source: 'url', session: 'shop', messageId: 'n5', url: mediaUrl };
    const wrong = await failure({ parameters: handOver, credential: { url, token: 'a-wrong-token' } });
    assert.ok(wrong instanceof NodeApiError);
    assert.equal(wrong.httpCode, '401');
    assert.match(wrong.description, /unauthorized/);
    assert.ok(!JSON.stringify([wrong.message, wrong.description, wrong.context]).includes('a-wrong-token'));
    const unknown = await failure({ parameters: { operation: 'getContent', mediaId: '0'.repeat(32) } });
    assert.deepEqual([unknown.httpCode, unknown.context.itemIndex], ['404', 0]);
    assert.ok((await failure({ parameters: { operation: 'get', mediaId: 'x' } })) instanceof NodeOperationError);
    assert.ok((await failure({ parameters: { gateway: 'waha', message: 'text' } })) instanceof NodeOperationError);
    const away = await failure({ parameters: handOver, credential: { url: 'http://127.0.0.1:9', token } });
    assert.ok(away instanceof NodeApiError);
});

test('with continueOnFail the other items go on', { skip }, async () => {
    const items = [{ json: { id: 'x' } }, { json: { id: '0'.repeat(32) } }];
    const outputs = await execute({ parameters: { operation: 'get' }, items, continueOnFail: true });
    assert.deepEqual(outputs.map(({ json }) => json.status), [null, '404']);
    assert.deepEqual(outputs.map(({ pairedItem }) => pairedItem.item), [0, 1]);
});
