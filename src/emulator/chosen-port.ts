import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { errnoOf } from '../core/base/errors.ts';

/**
 * The range from which a free port is chosen. It is below the kernel's ephemeral ports (ip_local_port_range, 32768 to
 * 60999), so that no outgoing connection takes the port of a listener that is closed for a while. claim() excludes other
 * emulators.
 */
const [FIRST_PORT, LAST_PORT] = [20_000, 32_767];
const MAX_TRIES = 50;

/** A port that no other emulator of this machine chooses, even while this one does not listen on it. */
export interface ChosenPort {
  readonly port: number;
  /** Releases the claim on the port. */
  readonly release: () => void;
}

/**
 * Makes a server listen on a free port.
 *
 * @param host an address of this machine
 * @param choose replaced in tests
 * @throws the errors of `listen`, except that a port is in use
 */
export async function listenOnChosenPort(
  server: Server,
  host: string,
  choose = () => randomInt(FIRST_PORT, LAST_PORT + 1),
): Promise<ChosenPort> {
  for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
    const port = choose();
    const claimed = await claim(port);
    if (claimed === undefined) continue;
    try {
      return { port: await listen(server, port, host), release: () => claimed.close() };
    } catch (error) {
      claimed.close();
      if (errnoOf(error) !== 'EADDRINUSE') throw error;
    }
  }
  return { port: await listen(server, 0, host), release: () => {} };
}

/**
 * Makes a server listen.
 *
 * @param port 0: the kernel chooses
 * @returns the port
 */
export async function listen(server: Server, port: number, host: string): Promise<number> {
  server.listen(port, host);
  await once(server, 'listening'); // rejects on 'error'
  return (server.address() as AddressInfo).port;
}

/**
 * Claims a port among the emulators of this machine, by an abstract socket (unix(7)). The kernel removes it with the process,
 * and an agent does not report it as a listening port.
 *
 * @returns the server that holds the claim until it is closed; `undefined` if another emulator holds it
 */
async function claim(port: number): Promise<Server | undefined> {
  const server = createServer().unref();
  server.listen(`\0vakt-emulator-${port}`);
  try {
    await once(server, 'listening');
    return server;
  } catch (error) {
    if (errnoOf(error) !== 'EADDRINUSE') throw error;
    return undefined;
  }
}
