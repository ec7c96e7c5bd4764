import * as v from 'valibot';
import { integer, listOf } from '../fields.ts';
import { primitive } from '../primitive.ts';
import type { System } from '../system.ts';
import { cannotRead, fail, listed, pass, passIf, skip, type Verdict } from '../verdict.ts';

const port = v.pipe(integer, v.minValue(1), v.maxValue(65_535));

const params = v.variant('check', [
  v.strictObject({
    check: v.literal('notListening'),
    protocols: listOf(v.picklist(['tcp', 'udp'])),
    ports: listOf(port),
    /** `nonLoopback`: sockets on loopback addresses are allowed. */
    scope: v.picklist(['nonLoopback', 'any']),
  }),
  v.strictObject({ check: v.literal('noPromisc') }),
  v.strictObject({ check: v.literal('noWireless') }),
  v.strictObject({ check: v.literal('ipv6Enabled') }),
]);
type Params = v.InferOutput<typeof params>;

/** IFF_UP and IFF_PROMISC of linux/if.h. */
const UP = 0x1;
const PROMISC = 0x100;

/** Listening sockets, and interfaces, in the network namespace of the host. */
export const net = primitive({
  name: 'net',
  summary: 'Listening sockets (/proc/net) and interfaces (/sys/class/net).',
  params,

  expected(of) {
    if (of.check === 'notListening')
      return `nothing at ${of.protocols.join('/')} port ${of.ports.join(', ')}${of.scope === 'any' ? '' : ' but on loopback'}`;
    return {
      noPromisc: 'no interface is promiscuous',
      noWireless: 'no wireless interface is up',
      ipv6Enabled: 'IPv6 is on',
    }[of.check];
  },

  remedy(of) {
    if (of.check === 'notListening')
      return `Stop the service, bind it to 127.0.0.1, or block the port in the packet filter.`;
    if (of.check === 'noPromisc') return 'Stop the packet capture, or run ip link set DEVICE promisc off.';
    return of.check === 'noWireless'
      ? 'Run ip link set DEVICE down, or declare the role wifi.'
      : 'Set net.ipv6.conf.all.disable_ipv6 = 0.';
  },

  async evaluate(of, system) {
    if (!system.runs) return skip('nothing runs in this tree');
    if (of.check === 'notListening') return evaluatePorts(of, system);
    if (of.check === 'ipv6Enabled') return evaluateIpv6(system);
    return evaluateInterfaces(of.check, system);
  },
});

async function evaluatePorts(of: Extract<Params, { check: 'notListening' }>, system: System): Promise<Verdict> {
  const { found, unreadable } = await system.listeners();
  const open = found.filter(
    ({ protocol, port: at, loopback }) =>
      of.protocols.includes(protocol) && of.ports.includes(at) && (of.scope === 'any' || !loopback),
  );
  const [first] = open;
  const unseen = of.protocols.map((protocol) => unreadable[protocol]).find((each) => each !== undefined);
  if (first === undefined) return unseen === undefined ? pass('nothing listens') : cannotRead(unseen, system.netFolder);
  const places = open.map(({ protocol, address, port: at }) => `${protocol} ${address}:${at}`);
  return fail(listed([...new Set(places)]), `${system.netFolder}/${first.protocol}`);
}

function evaluateInterfaces(check: 'noPromisc' | 'noWireless', { files }: System): Verdict {
  const names = files.names('/sys/class/net');
  if ('unreadable' in names) return cannotRead(names, '/sys/class/net');
  if (!('found' in names)) return skip('there is no /sys/class/net');
  const wrong: string[] = [];
  let unseen: Verdict | undefined;
  for (const name of names.found) {
    const folder = `/sys/class/net/${name}`;
    const look = files.text(`${folder}/flags`, 32);
    if ('unreadable' in look) unseen ??= cannotRead(look, `${folder}/flags`);
    const flags = 'found' in look ? Number(look.found.trim()) : 0;
    const isWireless = () => files.mayBeThere(`${folder}/wireless`) || files.mayBeThere(`${folder}/phy80211`);
    if (check === 'noPromisc' ? (flags & PROMISC) !== 0 : (flags & UP) !== 0 && isWireless()) wrong.push(name);
  }
  if (wrong.length > 0) return fail(listed(wrong), `/sys/class/net/${wrong[0]}`);
  return unseen ?? pass('none');
}

function evaluateIpv6({ files, netFolder }: System): Verdict {
  const look = files.text(`${netFolder}/if_inet6`);
  if ('unreadable' in look) return cannotRead(look, `${netFolder}/if_inet6`);
  return passIf('found' in look && look.found.trim() !== '', 'found' in look ? 'on' : 'off', `${netFolder}/if_inet6`);
}
