import assert from 'node:assert/strict';
import { parseLine } from '../../../../src/agent/linux/sockets/proc-net.ts';

const TCP =
  '   0: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 1234 1 0000000000000000 100 0 0 10 5';
const UDP6 =
  ' 4711: 00000000000000000000000000000000:0222 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 77 2 0000000000000000 0';

describe('parseLine of /proc/net', () => {
  it('parses a listener', () => {
    assert.deepEqual(parseLine(TCP, 'tcp', 'LE'), {
      protocol: 'tcp',
      localAddress: '127.0.0.53',
      localPort: 53,
      userId: 101,
      inode: 1234,
    });
  });

  it('parses a listener on a big-endian machine', () => {
    assert.equal(parseLine(TCP.replace('3500007F', '7F000035'), 'tcp', 'BE')?.localAddress, '127.0.0.53');
  });

  it('parses an unconnected UDP socket', () => {
    const { localAddress, localPort } = parseLine(UDP6, 'udp6', 'LE') ?? {};
    assert.deepEqual([localAddress, localPort], ['::', 546]);
  });

  for (const [what, line] of Object.entries({
    'the heading': '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
    'an established connection': TCP.replace(' 0A ', ' 01 '),
    'a socket without a port': TCP.replace(':0035', ':0000'),
    'a peer': TCP.replace('00000000:0000 0A', '0100007F:0050 0A'),
    'an address of the other family': TCP.replace('3500007F', '3500007F'.repeat(4)),
    'a line cut short': TCP.slice(0, 60),
    nothing: '',
  })) {
    it(`skips ${what}`, () => assert.equal(parseLine(line, 'tcp', 'LE'), undefined));
  }
});
