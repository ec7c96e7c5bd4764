import { lookup } from 'node:dns/promises';
import { errnoOf, messageOf } from '../../base/errors.ts';
import { ok, wrong } from './finding.ts';
import { type Check, step } from './situation.ts';

const NAME = 'name';

export const name: Check = {
  name: NAME,
  async run({ peer, signal }) {
    if (peer === undefined) return [wrong(NAME, "the hub's name is unknown", 'Set hub.hostName, or fix the identity.')];
    try {
      const found = await step('the name look-up', lookup(peer.host, { all: true }), signal);
      return [ok(NAME, `${peer.host} resolves to ${found.map(({ address }) => address).join(', ')}`)];
    } catch (error) {
      signal.throwIfAborted();
      const remedy = `Correct hub.hostName or hub.gatewayHostName, or the device's name servers (/etc/resolv.conf).`;
      return [wrong(NAME, `${peer.host} has no address: ${errnoOf(error) ?? messageOf(error)}`, remedy)];
    }
  },
};
