// The forms of messages: which hook a message goes to, with which fields and which id.
import assert from 'node:assert/strict';
import test from 'node:test';
import { clientOf, fakeServer } from './support/fakeServer.mjs';

const KEY = Buffer.alloc(32, 7);

/** What the server gets for a message. */
async function sent(t, msg, options) {
    const fake = await fakeServer(t);
    const { client } = clientOf(t, fake.url);
    const receipt = await client.processMediaAsync(msg, 'shop', options);
    const [request] = fake.requests;
    return { receipt, request, body: request && JSON.parse(request.body) };
}

const WPPCONNECT = {
    id: 'false_5511999990000@c.us_3EB0A1',
    type: 'image',
    from: '5511999990000@c.us',
    chatId: '5511999990000@c.us',
    mimetype: 'image/jpeg',
    mediaKey: KEY.toString('base64'),
    directPath: '/v/t62.7118-24/x.enc',
    filehash: 'aGFzaA==',
    encFilehash: 'aGFzaDI=',
    size: 1119,
    t: 1794740000,
    caption: 'a façade',
    sender: { id: '5511999990000@c.us', pushname: 'Ana', profilePicThumbObj: { img: 'x' } },
    chat: { id: '5511999990000@c.us', contact: {} },
    quotedMsgObj: { body: 'of another' },
    fromMe: false,
};

test('WPPConnect’s message goes to its own hook without chat, contact and quoted message', async (t) => {
    const { request, body } = await sent(t, WPPCONNECT);
    assert.equal(request.path, '/hooks/wppconnect');
    assert.equal(request.headers.authorization, 'Bearer a token of the tests');
    const { chat: _chat, quotedMsgObj: _quoted, ...fields } = WPPCONNECT;
    assert.deepEqual(body, { ...fields, sender: { id: WPPCONNECT.from }, event: 'onmessage', session: 'shop' });
});

test('whatsapp-web.js’s message is its record, and not the browser around it', async (t) => {
    const id = {
        fromMe: true,
        remote: '5511999990000@c.us',
        id: '3EB0A1',
        _serialized: 'true_5511999990000@c.us_3EB0A1',
    };
    const { id: _id, fromMe: _fromMe, ...data } = WPPCONNECT;
    const msg = { _data: { ...data, id }, id, fromMe: true, hasMedia: true, client: {} };
    msg.client.message = msg;
    const { request, body } = await sent(t, msg);
    assert.equal(request.path, '/hooks/wppconnect');
    assert.deepEqual([body.id, body.fromMe, body.client], [id._serialized, true, undefined]);
});

test('venom’s own message is known by its id', async (t) => {
    const { body } = await sent(t, {
        ...WPPCONNECT,
        id: 'true_5511999990000@c.us_3EB0A1',
        fromMe: undefined,
        isOnline: true,
    });
    assert.equal(body.fromMe, true);
});

test('Baileys’ message goes to Evolution API’s hook with bytes in base64 and long numbers as text', async (t) => {
    const imageMessage = {
        mimetype: 'image/jpeg',
        mediaKey: new Uint8Array(KEY),
        fileSha256: KEY,
        fileLength: { low: -1, high: 0, unsigned: true },
        directPath: '/v/t62.7118-24/x.enc',
        jpegThumbnail: Buffer.alloc(9000),
        contextInfo: { quotedMessage: { conversation: 'of another' } },
        caption: null,
    };
    const key = { remoteJid: '5511999990000@s.whatsapp.net', fromMe: false, id: '3EB0A2' };
    const message = { ephemeralMessage: { message: { viewOnceMessageV2: { message: { imageMessage } } } } };
    const { request, body } = await sent(t, { key, message, messageTimestamp: 1794740000n, pushName: 'Ana' });
    assert.equal(request.path, '/hooks/evolution');
    assert.deepEqual([body.event, body.instance, body.data.key], ['messages.upsert', 'shop', key]);
    assert.equal(body.data.messageTimestamp, '1794740000');
    assert.deepEqual(body.data.message.ephemeralMessage.message.viewOnceMessageV2.message.imageMessage, {
        mimetype: 'image/jpeg',
        mediaKey: KEY.toString('base64'),
        fileSha256: KEY.toString('base64'),
        fileLength: '4294967295',
        directPath: '/v/t62.7118-24/x.enc',
    });
});

test('texts are ignored without a request', async (t) => {
    const key = { remoteJid: 'x', id: 'm' };
    for (const text of [
        { id: 'false_1@c.us_A', type: 'chat', body: 'hello' },
        { key, message: { conversation: 'hello' } },
        { key, message: { extendedTextMessage: { text: 'hello' }, messageContextInfo: {} } },
        { key, message: null, messageStubType: 2 },
    ]) {
        const { receipt, request } = await sent(t, text);
        assert.deepEqual([receipt.mode, receipt.id, request], ['ignored', null, undefined]);
    }
});

test('the generic form is sent as JSON, and with bytes as a form', async (t) => {
    const { request, body } = await sent(t, { message_id: 7, url: 'https://media.example/x', media_key: KEY });
    assert.equal(request.path, '/hooks/media');
    assert.deepEqual(body, {
        message_id: 7,
        url: 'https://media.example/x',
        media_key: KEY.toString('base64'),
        session: 'shop',
    });
    const fake = await fakeServer(t);
    const { client } = clientOf(t, fake.url);
    for (const data of [Buffer.from('bytes'), 'Ynl0ZXM=', 'data:text/plain;base64,Ynl0ZXM=']) {
        await client.processMediaAsync({ message_id: 'm', filename: 'a "b".txt', from_me: true, data }, 'shop');
        const { headers, body: form } = fake.requests.pop();
        assert.match(headers['content-type'], /^multipart\/form-data; boundary=/);
        assert.match(form.toString(), /name="from_me"\r\n\r\ntrue\r\n/);
        assert.match(form.toString(), /name="file"; filename="a %22b%22.txt"\r\n.*\r\n\r\nbytes\r\n--/);
    }
});

test('messages that cannot be handed over are named', async (t) => {
    const { client } = clientOf(t, 'http://127.0.0.1:9');
    for (const [msg, session, text] of [
        [{}, 'shop', /unknown form/],
        ['text', 'shop', /object/],
        [{ message_id: '' }, 'shop', /message_id/],
        [{ message_id: 'm', data: 'no base64!' }, 'shop', /base64/],
        [{ message_id: 'm', data: '' }, 'shop', /empty/],
        [{ message_id: 'm', file: '/nowhere/x' }, 'shop', /file/],
        [{ message_id: 'm', data: 'AA==', file: 'x' }, 'shop', /both/],
        [{ message_id: 'm' }, ' ', /session/],
        [{ key: { remoteJid: 'x' }, message: { imageMessage: {} } }, 'shop', /key\.id/],
        [{ id: {}, type: 'image' }, 'shop', /no id/],
    ]) {
        await assert.rejects(client.processMediaAsync(msg, session), (error) => {
            assert.deepEqual([error.name, error.code, error.status], ['MessageError', 'bad_message', null]);
            assert.match(error.message, text);
            return true;
        });
    }
    await assert.rejects(client.processMediaAsync({ id: 'm' }, 'shop', { form: 'telegram' }), { code: 'bad_option' });
});
