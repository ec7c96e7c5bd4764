import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { guarded } from '../../src/emulator/guarded.ts';

describe('a guarded listener of requests', () => {
  /** Serves one request. @returns what the client gets */
  const served = async (listener: RequestListener): Promise<Response> => {
    const server = createServer(listener).listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      return await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  };

  it('answers 500 with the reason when serving fails', async () => {
    const response = await served(
      guarded(async (_request, response) => {
        response.writeHead(99);
      }),
    );
    assert.equal(response.status, 500);
    assert.match(await response.text(), /Invalid status code/);
  });

  it('closes the connection when serving fails after an answer has begun', async () => {
    const cut = served(
      guarded(async (_request, response) => {
        response.writeHead(200, { 'content-length': '10' }).flushHeaders();
        throw new Error('in the middle');
      }),
    ).then((response) => response.text());
    await assert.rejects(cut);
  });
});
