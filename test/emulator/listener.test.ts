import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { listenOnChosenPort } from '../../src/emulator/chosen-port.ts';
import { Listener } from '../../src/emulator/listener.ts';

describe('Listener', () => {
  const opened: Listener[] = [];
  const open = async (port = 0) => {
    const listener = await Listener.open({ port }, createServer() satisfies Server);
    opened.push(listener);
    return listener;
  };
  afterEach(async () => {
    for (const listener of opened.splice(0)) await listener.close();
  });

  it('chooses ports that the kernel does not assign while it is closed', async () => {
    const ports: number[] = [];
    for (let count = 0; count < 20; count += 1) ports.push((await open()).port);
    assert.equal(new Set(ports).size, 20);
    for (const port of ports) assert.ok(port >= 20_000 && port < 32_768, `port ${port}`);
  });

  it('has its port again after it was closed', async () => {
    const listener = await open();
    const { port } = listener;
    await listener.shut();
    assert.equal(listener.isOpen, false);
    await listener.open();
    assert.deepEqual([listener.isOpen, listener.port], [true, port]);
  });

  it('keeps others from choosing its port while it is shut, until it is closed', async () => {
    const listener = await open();
    const { port } = await open();
    await listener.shut();
    await opened.pop()?.close();
    const choosing = async () => {
      const choices = [listener.port, port];
      const server = createServer();
      const chosen = await listenOnChosenPort(server, '127.0.0.1', () => choices.shift() ?? 0);
      await new Promise((resolve) => server.close(resolve));
      chosen.release();
      return chosen.port;
    };
    assert.equal(await choosing(), port);
    await listener.close();
    assert.equal(await choosing(), listener.port);
  });

  it('reports that a port is in use', async () => {
    const { port } = await open();
    await assert.rejects(open(port), { code: 'EADDRINUSE' });
  });
});
