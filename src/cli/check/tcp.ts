import { connect } from 'node:net';
import { errnoOf, messageOf } from '../../base/errors.ts';
import { ok, wrong } from './finding.ts';
import { type Check, step } from './situation.ts';

const NAME = 'TCP';

export const tcp: Check = {
  name: NAME,
  needs: ['name'],
  async run({ peer, signal }) {
    if (peer === undefined) return [];
    const { host, port } = peer;
    const socket = connect(port, host);
    try {
      const connected = new Promise<void>((resolve, reject) => {
        socket.once('connect', resolve);
        socket.on('error', reject);
      });
      await step('the connection', connected, signal);
      return [ok(NAME, `${host}:${port} accepts connections`)];
    } catch (error) {
      signal.throwIfAborted();
      const remedy = `Allow connections from the device to ${host} on TCP port ${port} (firewall, proxy, route).`;
      return [wrong(NAME, `cannot connect to ${host}:${port}: ${errnoOf(error) ?? messageOf(error)}`, remedy)];
    } finally {
      socket.destroy();
    }
  },
};
