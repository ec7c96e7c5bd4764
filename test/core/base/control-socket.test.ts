import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request, type ServerResponse } from 'node:http';
import { createServer, Server } from 'node:net';
import { join } from 'node:path';
import sinon from 'sinon';
import {
  askControlSocket,
  type Handler,
  isNoAgentListening,
  serveControlSocket,
} from '../../../src/core/base/control-socket.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { temporaryFolder } from '../../harness/folders.ts';

describe('control socket', () => {
  let folder: string;
  let path: string;
  const closers: (() => unknown)[] = [];

  beforeEach(() => {
    folder = temporaryFolder();
    path = join(folder, 'run', 'control.sock');
  });
  afterEach(async () => {
    for (const close of closers.splice(0)) await close();
  });

  const serve = async (handlers: Record<string, Handler> = { '/status': () => ({ state: 'running' }) }) => {
    const close = await serveControlSocket(path, handlers);
    closers.push(close);
    return close;
  };

  /** The response that another HTTP client gets. */
  const ask = async (target: string, method = 'GET') => {
    const asked = request({ socketPath: path, path: target, method }).end();
    const [response] = await once(asked, 'response');
    let body = '';
    for await (const chunk of response) body += chunk;
    return { status: response.statusCode, body: JSON.parse(body) };
  };

  /** Creates a socket file on which no process listens, as a killed agent leaves it. */
  const leaveStaleSocket = async () => {
    const { renameSync, mkdirSync } = await import('node:fs');
    mkdirSync(join(folder, 'run'), { recursive: true });
    const server = createServer().listen(`${path}.other`);
    await once(server, 'listening');
    renameSync(`${path}.other`, path);
    await new Promise((resolve) => server.close(resolve));
  };

  it('the control socket passes the query to the handler and returns its answer', async () => {
    await serve({ '/echo': (query) => ({ said: query.get('say') }) });
    assert.deepEqual(await askControlSocket(path, '/echo?say=a%20b'), { said: 'a b' });
  });

  it('the control socket is accessible only to its owner', async () => {
    await serve();
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  it('the control socket answers 404 for any other path or method', async () => {
    await serve();
    for (const target of ['/', '/other', '/status/', '/constructor', '//', '//status', '/%', '*']) {
      assert.deepEqual(await ask(target), { status: 404, body: { error: 'not found', paths: ['/status'] } }, target);
    }
    assert.equal((await ask('/status', 'POST')).status, 404);
    assert.equal((await ask('/status')).status, 200);
  });

  it('the control socket reports the error of a handler and keeps serving', async () => {
    const broken = () => {
      throw new Error('broken');
    };
    await serve({ '/broken': broken, '/whole': () => 'well' });
    assert.deepEqual(await ask('/broken'), { status: 500, body: { error: 'broken' } });
    await assert.rejects(askControlSocket(path, '/broken'), /broken/);
    await assert.rejects(askControlSocket(path, '/other'), /not found/);
    assert.equal(await askControlSocket(path, '/whole'), 'well');
  });

  it('serveControlSocket rejects if another agent answers at the path, and that agent keeps answering', async () => {
    await serve();
    await assert.rejects(serveControlSocket(path, {}), { id: 'AGENT_RUNNING' });
    assert.deepEqual(await askControlSocket(path, '/status'), { state: 'running' });
  });

  it('serveControlSocket replaces the socket of a killed agent', async () => {
    await leaveStaleSocket();
    assert.ok(statSync(path).isSocket());
    await serve();
    assert.deepEqual(await askControlSocket(path, '/status'), { state: 'running' });
  });

  it('serveControlSocket rejects a file that is not a socket, and leaves it unchanged', async () => {
    path = join(folder, 'agent.json');
    writeFileSync(path, 'precious');
    await assert.rejects(serveControlSocket(path, {}), /is not a socket/);
    assert.equal(readFileSync(path, 'utf8'), 'precious');
  });

  it('the control socket is removed on close even if a client is still connected', async () => {
    let streaming: ServerResponse | undefined;
    const close = await serve({
      '/follow': (_query, response) => {
        streaming = response;
        response.writeHead(200).write('first\n');
      },
    });
    const lines: string[] = [];
    const following = askControlSocket(path, '/follow', { onLine: (line) => lines.push(line) }).catch(
      ({ id, message }) => ({ id, message }),
    );
    while (lines.length === 0) await nextTurn();
    await close();
    assert.deepEqual(await following, { id: 'AGENT_NOT_RUNNING', message: `the agent at ${path} exited` });
    assert.equal(streaming?.destroyed, true);
    assert.equal(existsSync(path), false);
  });

  it('askControlSocket streams whole lines as they arrive until the caller aborts', async () => {
    await serve({
      '/follow': (_query, response) => {
        response.writeHead(200);
        response.write('first\nsec');
        setImmediate(() => response.write('ond\nthird'));
      },
    });
    const stop = new AbortController();
    const lines: string[] = [];
    const onLine = (line: string) => {
      lines.push(line);
      if (lines.length === 2) stop.abort();
    };
    assert.equal(await askControlSocket(path, '/follow', { onLine, signal: stop.signal }), undefined);
    assert.deepEqual(lines, ['first', 'second']);
  });

  it('askControlSocket reads no line of a stream before the promise of onOpen resolves', async () => {
    await serve({
      '/status': () => ({ state: 'running' }),
      '/follow': (_query, response) => void response.writeHead(200).write('first\n'),
    });
    const stop = new AbortController();
    const order: unknown[] = [];
    const onLine = (line: string) => {
      order.push(line);
      stop.abort();
    };
    const onOpen = async () => {
      order.push(await askControlSocket(path, '/status'));
    };
    await askControlSocket(path, '/follow', { onLine, onOpen, signal: stop.signal });
    assert.deepEqual(order, [{ state: 'running' }, 'first']);
  });

  it('askControlSocket rejects with the reason if a stream cannot start', async () => {
    let stream: ServerResponse | undefined;
    await serve({
      '/follow': (_query, response) => {
        stream = response;
        response.writeHead(200).flushHeaders();
      },
    });
    const follow = (onOpen: () => unknown) => askControlSocket(path, '/follow', { onLine: assert.fail, onOpen });
    const none = join(folder, 'none');
    await assert.rejects(
      follow(() => askControlSocket(none, '/status')),
      { id: 'AGENT_NOT_RUNNING', message: `no agent answers at ${none}: ENOENT` },
    );
    const exiting = async () => {
      stream?.destroy();
      for (let i = 0; i < 50; i++) await nextTurn();
    };
    await assert.rejects(follow(exiting), { id: 'AGENT_NOT_RUNNING', message: `the agent at ${path} exited` });
  });

  it('askControlSocket rejects with AGENT_NOT_RUNNING if no agent runs', async () => {
    await assert.rejects(askControlSocket(path, '/status'), { id: 'AGENT_NOT_RUNNING', message: /ENOENT/ });
    await leaveStaleSocket();
    await assert.rejects(askControlSocket(path, '/status'), { id: 'AGENT_NOT_RUNNING', message: /ECONNREFUSED/ });
  });

  it('isNoAgentListening distinguishes an absent agent from one that cannot be reached', async () => {
    const failure = () => askControlSocket(path, '/status').catch((error: unknown) => error);
    assert.equal(isNoAgentListening(await failure()), true);
    await leaveStaleSocket();
    assert.equal(isNoAgentListening(await failure()), true);
    path = join(folder, 'agent.json', 'control.sock');
    writeFileSync(join(folder, 'agent.json'), '');
    const error = await failure();
    assert.match(String(error), /ENOTDIR/);
    assert.equal(isNoAgentListening(error), false);
  });

  it('askControlSocket rejects with AGENT_ACCESS_DENIED if this user may not connect', async () => {
    await serve();
    chmodSync(path, 0);
    chmodSync(folder, 0o755);
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid?.(65_534);
    const asking = askControlSocket(path, '/status').finally(() => isRoot && process.seteuid?.(0));
    await assert.rejects(asking, { id: 'AGENT_ACCESS_DENIED', message: `you may not ask the agent at ${path}` });
  });

  it('serveControlSocket does not replace a socket that it may not connect to', async () => {
    await serve();
    chmodSync(path, 0);
    chmodSync(folder, 0o755);
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid?.(65_534); // root may connect despite the mode, other users may not
    const serving = serveControlSocket(path, {});
    if (isRoot) process.seteuid?.(0);
    await assert.rejects(serving, { code: 'EACCES' });
    assert.equal(existsSync(path), true);
    chmodSync(path, 0o600);
    assert.deepEqual(await askControlSocket(path, '/status'), { state: 'running' });
  });

  for (const [length, works] of [
    [107, true],
    [108, false],
  ] as const) {
    it(`the control socket ${works ? 'accepts' : 'rejects'} a path of ${length} bytes`, async () => {
      path = join(folder, 'é'.repeat(20));
      path += 's'.repeat(length - Buffer.byteLength(path));
      if (works) {
        await serve();
        assert.deepEqual(await askControlSocket(path, '/status'), { state: 'running' });
        return;
      }
      const refusal = { id: 'CONFIG_INVALID', message: /108 bytes/, remedy: /at most 107 bytes/ };
      await assert.rejects(serveControlSocket(path, {}), refusal);
      await assert.rejects(askControlSocket(path, '/status'), refusal);
    });
  }

  it('serveControlSocket rejects if the socket was removed before its mode could be set', async () => {
    const { listen } = Server.prototype;
    const stub = sinon.stub(Server.prototype, 'listen').callsFake(function (this: Server, ...args: unknown[]) {
      Reflect.apply(listen, this, args);
      rmSync(path);
      return this;
    });
    const serving = serveControlSocket(path, {}).finally(() => stub.restore());
    await assert.rejects(serving, { code: 'ENOENT' });
  });

  describe('with a fake clock', () => {
    let clock: sinon.SinonFakeTimers;
    beforeEach(() => {
      clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    });
    afterEach(() => clock.restore());

    const silent = { '/silent': () => undefined };
    /** Waits until the first part of the answer has arrived. */
    const exchange = async () => {
      for (let i = 0; i < 50; i++) await nextTurn();
    };

    it('askControlSocket rejects if the agent does not answer within 5 s', async () => {
      await serve(silent);
      let settled = false;
      const asking = askControlSocket(path, '/silent').finally(() => {
        settled = true;
      });
      asking.catch(() => {});
      await clock.tickAsync(4_999);
      assert.equal(settled, false);
      await clock.tickAsync(1);
      await assert.rejects(asking, { id: 'AGENT_NOT_RUNNING', message: `the agent at ${path} does not answer` });
    });

    it('askControlSocket rejects after 5 s if an answer never ends or a stream never starts', async () => {
      await serve({
        ...silent,
        '/endless': (_query, response) => void response.writeHead(200).write('{'),
      });
      for (const ask of [
        () => askControlSocket(path, '/endless'),
        () => askControlSocket(path, '/silent', { onLine: assert.fail }),
      ]) {
        const asking = ask();
        asking.catch(() => {});
        await exchange();
        await clock.tickAsync(5_000);
        await assert.rejects(asking, { id: 'AGENT_NOT_RUNNING', message: /does not answer/ });
      }
    });

    it('askControlSocket sets no time limit for a silent stream', async () => {
      let stream: ServerResponse | undefined;
      await serve({
        '/follow': (_query, response) => {
          stream = response;
          response.writeHead(200).flushHeaders();
        },
      });
      const stop = new AbortController();
      const following = new Promise((resolve, reject) => {
        askControlSocket(path, '/follow', {
          signal: stop.signal,
          onOpen: () => void clock.tickAsync(60_000).then(() => stream?.write('at last\n')),
          onLine: (line) => {
            resolve(line);
            stop.abort();
          },
        }).catch(reject);
      });
      assert.equal(await following, 'at last');
    });

    it("askControlSocket rejects with the signal's reason when the signal aborts", async () => {
      await serve(silent);
      const stop = new AbortController();
      const asking = askControlSocket(path, '/silent', { signal: stop.signal });
      setImmediate(() => stop.abort());
      await assert.rejects(asking, (error) => error === stop.signal.reason);
      await assert.rejects(
        askControlSocket(path, '/silent', { signal: stop.signal }),
        (error) => error === stop.signal.reason,
      );
    });
  });

  it('askControlSocket rejects an answer that is not JSON', async () => {
    await serve({ '/odd': (_query, response) => void response.end('<html>') });
    await assert.rejects(askControlSocket(path, '/odd'), { id: 'AGENT_NOT_RUNNING' });
  });
});
