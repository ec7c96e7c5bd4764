import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { connect as connectTo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { type Clock, systemClock } from '../../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../../src/core/base/duration.ts';
import { PUBLISHED_OBJECT as OBJECT, twinDialect } from '../../../src/core/twin/published-object.ts';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import { Page } from '../../../src/emulator/page/page.ts';
import { ROUTES } from '../../../src/emulator/page/routes.ts';
import { until } from '../../harness/until.ts';
import { DEVICE, MODULE, module } from '../clients.ts';
import { alert, ask, connect, open, portOf, Stream, send, start, tokenOf } from './client.ts';

describe('the page of the emulator, its server', () => {
  let hub: HubEmulator;
  let page: Page;
  const streams: Stream[] = [];
  const stream = async (query?: string) => {
    const opened = await Stream.open(page, query);
    streams.push(opened);
    return opened;
  };
  const id = { deviceId: DEVICE, moduleId: MODULE };

  beforeEach(async () => {
    hub = await HubEmulator.start({ modules: [module] });
    page = await Page.open(hub, { port: 0 });
  });
  afterEach(async () => {
    for (const each of streams.splice(0)) each.close();
    await page.close();
    await hub.stop();
  });

  describe('who may use it', () => {
    const paths = [...Object.keys(ROUTES), 'GET /api/stream', 'GET /api/unknown'].map((route) => route.split(' '));

    for (const [method = '', path = ''] of paths) {
      it(`refuses ${method} ${path} without the token, with another one, and with one in the query`, async () => {
        const body = method === 'GET' || method === 'DELETE' ? {} : { body: {} };
        const other = `${tokenOf(page).slice(0, -1)}${tokenOf(page).endsWith('A') ? 'B' : 'A'}`;
        for (const token of ['', 'x', other, `${tokenOf(page)}A`])
          assert.equal((await ask(page, path, { method, token, ...body })).status, 401);
        const query = `?token=${tokenOf(page)}`;
        assert.equal((await ask(page, `${path}${query}`, { method, token: '', ...body })).status, 401);
      });
    }

    it('has a token of 256 bits in the fragment of its address, different for each emulator', async () => {
      const otherHub = await HubEmulator.start({ modules: [module] });
      const other = await Page.open(otherHub, { port: 0 });
      try {
        assert.match(page.address, /^http:\/\/127\.0\.0\.1:\d+\/#[\w-]{43}$/);
        assert.notEqual(tokenOf(other), tokenOf(page));
        assert.equal((await ask(other, '/api/twin', { token: tokenOf(page) })).status, 401);
      } finally {
        await other.close();
        await otherHub.stop();
      }
    });

    it('refuses every Host but its own, also for the files: another name may be one that a web page made lead here', async () => {
      const port = portOf(page);
      for (const path of ['/', '/style.css', '/api/twin']) {
        for (const host of [
          'evil.test',
          `evil.test:${port}`,
          '127.0.0.1',
          `127.0.0.1:${port + 1}`,
          `127.0.0.1.evil.test:${port}`,
        ])
          assert.equal((await ask(page, path, { headers: { host } })).status, 403, host);
      }
      for (const host of [`127.0.0.1:${port}`, `localhost:${port}`])
        assert.equal((await ask(page, '/', { headers: { host } })).status, 200);
    });

    it('refuses every Origin but its own, even with the token, and changes nothing', async () => {
      const port = portOf(page);
      const how = { method: 'POST', body: { kind: 'twinSilence' } };
      for (const origin of [
        'null',
        'https://evil.test',
        `http://127.0.0.1:${port + 1}`,
        `https://127.0.0.1:${port}`,
        `http://evil.test:${port}`,
      ]) {
        const { status, headers } = await ask(page, '/api/fault', { ...how, headers: { origin } });
        assert.equal(status, 403, origin);
        assert.equal(headers['access-control-allow-origin'], undefined);
      }
      assert.deepEqual(hub.faults.active(), []);
      assert.equal(
        (await ask(page, '/api/fault', { method: 'OPTIONS', headers: { origin: 'https://evil.test' } })).status,
        403,
      );
      const { status } = await ask(page, '/api/fault', { ...how, headers: { origin: `http://127.0.0.1:${port}` } });
      assert.equal(status, 200);
      assert.equal(hub.faults.active().length, 1);
    });

    it('listens on 127.0.0.1 only', async () => {
      const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
      for (const { address } of addresses.filter(({ internal, family }) => !internal && family === 'IPv4')) {
        const socket = connectTo(portOf(page), address);
        await assert.rejects(once(socket, 'connect'), /ECONNREFUSED/);
      }
    });
  });

  describe('what it serves', () => {
    it('serves its own files without a token, since they contain no data of the hub', async () => {
      const { text, headers } = await ask(page, '/', { token: '' });
      assert.match(text, /^<!doctype html>/);
      assert.equal(headers['content-type'], 'text/html; charset=utf-8');
      for (const [, path = ''] of text.matchAll(/(?:src|href)="(\/[^"]+)"/g))
        assert.equal((await ask(page, path, { token: '' })).status, 200, path);
      assert.equal((await ask(page, '/', { method: 'POST', body: {} })).status, 405);
    });

    it('serves no other file', async () => {
      for (const path of [
        '/emulator/page/page.js',
        '/emulator/page/browser/../page.js',
        '/../package.json',
        '/%2e%2e/package.json',
        '/emulator/page/browser/',
        '//etc/passwd',
      ])
        assert.equal((await ask(page, path)).status, 404, path);
    });

    it('rejects an invalid URL', async () => {
      assert.equal((await ask(page, 'http://[')).status, 400);
    });

    it('forbids with every answer that anything else is loaded, or that text becomes HTML', async () => {
      for (const path of ['/', '/emulator/page/browser/main.js', '/api/twin', '/api/unknown']) {
        const { headers } = await ask(page, path);
        const policy = new Map(
          String(headers['content-security-policy'])
            .split('; ')
            .map((part): [string, string] => {
              const [name = '', ...values] = part.split(' ');
              return [name, values.join(' ')];
            }),
        );
        assert.equal(policy.get('default-src'), "'none'");
        for (const name of ['script-src', 'style-src', 'img-src', 'connect-src'])
          assert.equal(policy.get(name), "'self'");
        for (const name of ['base-uri', 'form-action', 'frame-ancestors']) assert.equal(policy.get(name), "'none'");
        assert.equal(policy.get('require-trusted-types-for'), "'script'");
        assert.equal(policy.get('trusted-types'), "'none'");
        assert.equal(headers['x-content-type-options'], 'nosniff');
        assert.equal(headers['referrer-policy'], 'no-referrer');
        assert.equal(headers['cache-control'], 'no-store');
      }
    });

    it('has no inline script, style or handler, and names no other place', async () => {
      for (const path of ['/', '/style.css']) {
        const { text } = await ask(page, path);
        assert.doesNotMatch(
          text,
          /<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|https?:\/\/(?!www\.w3\.org\/)|url\(|@import/,
        );
      }
    });
  });

  describe('limits', () => {
    it('rejects a body that is too large, is not a JSON object, or has another content type', async () => {
      const post = (body: unknown, headers = {}) => ask(page, '/api/fault', { method: 'POST', body, headers });
      assert.equal((await post('{')).status, 400);
      assert.equal((await post('[]')).status, 400);
      assert.equal((await post({}, { 'content-type': 'text/plain' })).status, 415);
      assert.equal((await post({ text: 'x'.repeat(300_000) })).status, 413);
      assert.equal((await post(`${'['.repeat(100_000)}${']'.repeat(100_000)}`)).status, 400);
    });

    it('refuses headers that are too large', async () => {
      assert.equal((await ask(page, '/', { headers: { 'x-much': 'x'.repeat(10_000) } })).status, 431);
    });

    it('limits the number of browsers, and accepts another one when one has disconnected', async () => {
      for (let number = 0; number < 8; number++) await stream();
      assert.equal((await ask(page, '/api/stream')).status, 503);
      streams[0]?.close();
      await until('room for another browser', async () => {
        const response = await open(page, '/api/stream');
        response.destroy();
        return response.statusCode === 200;
      });
    });

    it('disconnects a browser that does not read, while other browsers and the hub continue', async function () {
      this.timeout(seconds(180));
      const quick: Clock = { ...systemClock, sleep: (_wait, signal) => systemClock.sleep(milliseconds(1), signal) };
      await page.close();
      page = await Page.open(hub, { port: 0, clock: quick });
      const socket = connectTo(portOf(page), '127.0.0.1');
      socket.on('error', () => {});
      const head = [`Host: 127.0.0.1:${portOf(page)}`, `Authorization: Bearer ${tokenOf(page)}`];
      socket.write(`GET /api/stream HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\n`);
      await once(socket, 'data');
      socket.pause();
      const readers = await Promise.all(Array.from({ length: 7 }, () => open(page, '/api/stream')));
      for (const other of readers) other.resume(); // reads and discards
      assert.equal((await ask(page, '/api/stream')).status, 503);
      const client = await connect(hub);
      await send(hub, client, { Events: Array.from({ length: 200 }, () => start('x'.repeat(600))) });
      const [large] = hub.messages;
      let reader: IncomingMessage | undefined;
      await until('room for another browser', async () => {
        for (let number = 0; number < 8; number++) hub.emit('message', large);
        const response = await open(page, '/api/stream');
        if (response.statusCode === 200) reader = response;
        else response.destroy();
        return reader !== undefined;
      });
      await send(hub, client, { Events: [start('still here')] });
      for await (const chunk of reader?.setEncoding('utf8') ?? []) if (chunk.includes('still here')) break;
      for (const other of readers) assert.equal(other.destroyed, false);
      socket.destroy();
      for (const other of readers) other.destroy();
      client.end(true);
    });
  });

  describe('the stream', () => {
    it('sends all stored messages first, then new ones', async () => {
      const client = await connect(hub);
      await send(hub, client, { Events: [start('before'), alert()] });
      const reader = await stream();
      const hello = await reader.next('hello');
      const [row] = hello.rows.messages;
      assert.deepEqual(
        row?.events.map(({ name, lines }) => [name, lines[0]]),
        [
          ['ProcessCreate', 'root ran before  [/bin/x, pid 7]'],
          ['SecurityAlert', 'High: Reverse shell  [IoT_ReverseShell, bash -i]'],
        ],
      );
      assert.equal(row?.priority, 'High');
      assert.equal(row?.units, 1);
      assert.deepEqual(
        hello.alerts.map(({ severity, title, techniques, sequence }) => [severity, title, techniques, sequence]),
        [['High', 'Reverse shell', 'T1059.004, T1071', 1]],
      );
      assert.equal(hello.totals.events, 2);
      assert.equal(hello.minutes.length, 1);
      assert.deepEqual(hello.state.modules, [{ ...id, connected: true }]);
      assert.deepEqual(
        hello.settings.map(({ name }) => name),
        twinDialect().properties.map(({ name }) => name),
      );
      assert.deepEqual(
        hello.methods.find(({ name }) => name === 'pause')?.fields.map(({ name, required }) => [name, required]),
        [
          ['duration', true],
          ['reason', true],
        ],
      );
      await send(hub, client, { Events: [start('after')] });
      const news = await reader.next('news');
      assert.deepEqual(
        news.messages.map(({ sequence, events }) => [sequence, events[0]?.lines[0]]),
        [[2, 'root ran after  [/bin/x, pid 7]']],
      );
      assert.equal(news.totals.events, 3);
      client.end(true);
      await reader.next('state', ({ modules }) => modules[0]?.connected === false);
    });

    it('names the changed twins, regardless of the writer', async () => {
      const reader = await stream();
      await reader.next('hello');
      hub.patchDesired(DEVICE, MODULE, { a: 1 });
      assert.deepEqual(await reader.next('twin'), { modules: [`${DEVICE}/${MODULE}`], any: false });
    });

    it('gives a browser that comes back only what it has missed', async () => {
      const client = await connect(hub);
      for (const text of ['one', 'two', 'three']) await send(hub, client, { Events: [start(text)] });
      const { rows } = await (await stream('?after=2')).next('hello');
      assert.deepEqual(
        rows.messages.map(({ sequence }) => sequence),
        [3],
      );
      client.end(true);
    });

    it('sends the latest of too many messages, and says how many it left out', async () => {
      for (let sequence = 1; sequence <= 1_000; sequence++) {
        const message = {
          ...id,
          sequence,
          body: '{"Events":[]}',
          sizeBytes: 13,
          duplicate: false,
          enqueuedAt: systemClock.now(),
        };
        (hub.messages as object[]).push({ ...message, systemProperties: {}, applicationProperties: {} });
      }
      const { rows } = await (await stream()).next('hello');
      assert.equal(rows.messages.length + rows.skipped, 1_000);
      assert.equal(rows.messages.length, 300);
      assert.equal(rows.messages.at(-1)?.sequence, 1_000);
    });

    it('limits the listed modules, connected ones first, and the changed twins', async () => {
      const names = Array.from({ length: 250 }, (_, number) => `device${number}`);
      for (const deviceId of names) hub.addModule({ deviceId, moduleId: MODULE });
      hub.removeModule(DEVICE, MODULE);
      hub.addModule(module); // the last one
      const client = await connect(hub);
      const reader = await stream();
      const { state } = await reader.next('hello');
      assert.equal(state.modules.length, 200);
      assert.equal(state.modulesLeft, 51);
      assert.deepEqual(state.modules[0], { ...id, connected: true });
      for (const deviceId of names) hub.patchDesired(deviceId, MODULE, { a: 1 });
      assert.deepEqual(await reader.next('twin'), { modules: [], any: true });
      client.end(true);
    });

    it('ends with the page', async () => {
      const reader = await stream();
      await reader.next('hello');
      const ended = new Promise((resolve) => reader.response.once('close', resolve));
      await page.close();
      await ended;
      page = await Page.open(hub, { port: 0 });
    });
  });

  describe('what can be asked of the hub', () => {
    it('gives the raw message, with invisible characters spelt out', async () => {
      const client = await connect(hub);
      await send(hub, client, { Events: [start('a\u202eb')] });
      await send(hub, client, 'no \u202e JSON');
      const { body } = await ask(page, '/api/message?sequence=1');
      assert.ok(body.text.includes('a\\u202eb'));
      assert.equal(JSON.parse(body.text).body.Events[0].Payload[0].CommandLine, 'a\u202eb');
      assert.equal(JSON.parse((await ask(page, '/api/message?sequence=2')).body.text).body, 'no \u202e JSON');
      for (const sequence of ['3', '-1', 'x', ''])
        assert.equal((await ask(page, `/api/message?sequence=${sequence}`)).status, 404);
      client.end(true);
    });

    const query = new URLSearchParams(id);
    const put = (body: object) => ask(page, '/api/twin', { method: 'PUT', body: { ...id, ...body } });
    const FAULTY = { [OBJECT]: { snapshotFrequency: { value: 'soon' }, eventPriorityLogin: { value: 'Highest' } } };

    it('checks a desired configuration as the agent does, and names all faults', async () => {
      const { body } = await ask(page, '/api/twin/check', { method: 'POST', body: { desired: FAULTY } });
      assert.deepEqual(
        body.faults.map(({ name }: { name: string }) => name),
        ['snapshotFrequency', 'eventPriorityLogin'],
      );
      const doubtful = { [OBJECT]: { snapshotFrequencyy: { value: 'PT1H' } } };
      const { body: second } = await ask(page, '/api/twin/check', { method: 'POST', body: { desired: doubtful } });
      assert.deepEqual(second.faults, []);
      assert.match(second.warnings[0].message, /snapshotFrequency/);
    });

    it('sends a faulty one only when told to', async () => {
      const refused = await put({ desired: FAULTY, version: 1 });
      assert.equal(refused.status, 422);
      assert.equal(refused.body.check.faults.length, 2);
      assert.deepEqual(hub.twin(DEVICE, MODULE).desired, { $version: 1 });
      assert.equal((await put({ desired: FAULTY, version: 1, force: true })).status, 200);
      assert.deepEqual(hub.twin(DEVICE, MODULE).desired, { ...FAULTY, $version: 2 });
    });

    it('sends the difference, and nothing if the twin was changed in the meantime', async () => {
      hub.patchDesired(DEVICE, MODULE, { keep: { a: 1, b: 2 }, remove: true });
      const { body } = await ask(page, `/api/twin?${query}`);
      assert.deepEqual(body.desired, { keep: { a: 1, b: 2 }, remove: true });
      assert.equal((await put({ desired: { keep: { a: 1, b: 3 } }, version: body.desiredVersion })).status, 200);
      assert.deepEqual(hub.twin(DEVICE, MODULE).desired, { keep: { a: 1, b: 3 }, $version: 3 });
      assert.equal((await put({ desired: {}, version: body.desiredVersion })).status, 412);
      assert.deepEqual(hub.twin(DEVICE, MODULE).desired, { keep: { a: 1, b: 3 }, $version: 3 });
    });

    it('refuses what a hub refuses, and modules that the hub does not have', async () => {
      assert.equal((await put({ desired: { list: [1] }, version: 1 })).status, 400);
      assert.equal((await put({ desired: { text: 'x'.repeat(5_000) }, version: 1 })).status, 400);
      assert.equal((await put({ desired: [], version: 1 })).status, 400);
      assert.equal((await put({ deviceId: 'other', desired: {}, version: 1 })).status, 404);
      assert.equal((await ask(page, '/api/twin')).status, 404);
    });

    it('treats a property named __proto__ as an ordinary one', async () => {
      const body = `{"deviceId":"${DEVICE}","moduleId":"${MODULE}","version":1,"desired":{"__proto__":{"polluted":true}}}`;
      assert.equal((await ask(page, '/api/twin', { method: 'PUT', body })).status, 200);
      assert.ok(Object.hasOwn(hub.twin(DEVICE, MODULE).desired, '__proto__'));
      assert.equal(({} as Record<string, unknown>).polluted, undefined);
    });

    it('calls direct methods, and passes on what the module answers', async () => {
      const call = (name: string) =>
        ask(page, '/api/method', { method: 'POST', body: { ...id, name, payload: { a: 1 } } });
      assert.equal((await call('ping')).status, 404);
      assert.equal((await call('no name')).status, 400);
      const client = await connect(hub);
      client.subscribe('$iothub/methods/POST/#');
      await once(client, 'packetreceive');
      client.on('message', (topic, payload) => {
        const [, name, request] = /POST\/(\w+)\/\?\$rid=(.+)$/.exec(topic) ?? [];
        client.publish(
          `$iothub/methods/res/200/?$rid=${request}`,
          JSON.stringify({ name, got: JSON.parse(String(payload)), bidi: '\u202e' }),
        );
      });
      const { status, body } = await call('ping');
      assert.equal(status, 200);
      assert.equal(body.status, 200);
      assert.ok(body.text.includes('\\u202e'));
      assert.deepEqual(JSON.parse(body.text), { name: 'ping', got: { a: 1 }, bidi: '\u202e' });
      client.end(true);
    });

    it('switches faults on and off', async () => {
      const post = (body: object) => ask(page, '/api/fault', { method: 'POST', body });
      assert.equal((await post({ kind: 'delayAcknowledgements', ms: 5 })).status, 200);
      assert.equal((await post({ kind: 'quotaExceeded' })).status, 200);
      for (const wrong of [{ kind: 'none' }, { kind: 'delayAcknowledgements', ms: -1 }, { kind: 'closeOnText' }, {}])
        assert.equal((await post(wrong)).status, 400);
      assert.deepEqual(
        hub.faults.active().map(({ kind, ms }) => [kind, ms]),
        [
          ['delayAcknowledgements', 5],
          ['quotaExceeded', undefined],
        ],
      );
      assert.equal((await ask(page, '/api/fault?kind=quotaExceeded', { method: 'DELETE' })).status, 200);
      assert.deepEqual(
        hub.faults.active().map(({ kind }) => kind),
        ['delayAcknowledgements'],
      );
      assert.equal((await ask(page, '/api/fault', { method: 'DELETE' })).status, 200);
      assert.deepEqual(hub.faults.active(), []);
    });

    it('closes a connection, and takes the hub offline and online', async () => {
      const client = await connect(hub);
      const closed = once(client, 'close');
      assert.equal((await ask(page, '/api/disconnect', { method: 'POST', body: id })).status, 200);
      await closed;
      for (const [path, isOnline] of [
        ['/api/offline', false],
        ['/api/offline', false],
        ['/api/online', true],
        ['/api/online', true],
      ] as const) {
        assert.equal((await ask(page, path, { method: 'POST', body: {} })).status, 200);
        assert.equal(hub.isOnline, isOnline);
      }
      client.end(true);
    });
  });
});
