import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type runTool, type streamTool, ToolError } from '../../../../src/agent/host/run-tool.ts';
import { Firewall } from '../../../../src/agent/linux/firewall/firewall.ts';
import { writeU16, writeU32 } from '../../../../src/agent/linux/native/byte-order.ts';
import { encodeMessage, NLMSG_DONE, NLMSG_ERROR } from '../../../../src/agent/linux/native/netlink/message.ts';
import { NetlinkSocket } from '../../../../src/agent/linux/native/netlink/socket.ts';
import { AgentError } from '../../../../src/core/base/errors.ts';
import { nextTurn } from '../../../../src/core/base/waiting.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { golden } from './well-formed.ts';

const { signal } = new AbortController();

/** Answers a request for the tables of nftables. */
class Kernel extends NetlinkSocket {
  readonly #answers: Buffer[];
  closed = false;

  constructor(...answers: Buffer[]) {
    super(-1);
    this.#answers = answers;
  }
  override send = () => 1;
  override receive = () => this.#answers.shift();
  override close = () => {
    this.closed = true;
  };
}
const done = () => encodeMessage(NLMSG_DONE, 2, 1, Buffer.alloc(4));
const forbidden = () => {
  const error = Buffer.alloc(20);
  writeU32(error, 0, -1);
  return encodeMessage(NLMSG_ERROR, 0, 1, error);
};
const named = (family: number, name: string) => {
  const table = Buffer.from(`\0\0\0\0\0\0\0\0${name}\0`, 'latin1');
  table[0] = family;
  writeU16(table, 4, 5 + name.length);
  writeU16(table, 6, 1);
  return encodeMessage(10 << 8, 2, 1, table);
};

const EMPTY = '{"nftables": [{"metainfo": {"json_schema_version": 1}}]}';
const filter = (...expr: object[]) =>
  JSON.stringify({
    nftables: [
      {
        chain: { family: 'ip', table: 'filter', name: 'INPUT', type: 'filter', hook: 'input', prio: 0, policy: 'drop' },
      },
      { rule: { family: 'ip', table: 'filter', chain: 'INPUT', expr } },
    ],
  });
const saved = (...rules: string[]) =>
  `*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n${rules.map((rule) => `-A INPUT ${rule}\n`).join('')}COMMIT\n`;

/** Smaller than most elements, so that they arrive in parts. */
const CHUNK_BYTES = 61;

const notRoot = new ToolError('/usr/sbin/nft exited with status 1: Operation not permitted (you must be root)', {
  exitStatus: 1,
});
const tooMuch = new ToolError('/usr/sbin/nft produced too much output', { code: 'ENOBUFS' });

describe('Firewall', () => {
  let proc: string;
  let ran: string[];

  beforeEach(() => {
    proc = temporaryFolder();
    mkdirSync(join(proc, 'net'));
    ran = [];
  });
  afterEach(() => {
    chmodSync(join(proc, 'net'), 0o700);
  });

  const legacyTables = (family: 'ip' | 'ip6', names: string) =>
    writeFileSync(join(proc, 'net', `${family}_tables_names`), names);

  /** A machine with these tools; each says the same however often it is asked, `nft -t` what is under that name. */
  const firewall = (tools: Record<string, string | Error>, kernel = new Kernel(done())) => {
    const run: typeof runTool = async (path, args) => {
      const name = [path.slice('/sbin/'.length), ...args.filter((arg) => arg === '-t')].join(' ');
      ran.push(name);
      const answer = tools[name] ?? new ToolError(`no answer from ${name}`, {});
      if (answer instanceof Error) throw answer;
      return answer;
    };
    const stream: typeof streamTool = async (path, args, options, accept) => {
      const output = Buffer.from(await run(path, args, options));
      for (let at = 0; at < output.length; at += CHUNK_BYTES) accept(output.subarray(at, at + CHUNK_BYTES));
    };
    const find = (name: string) => (name in tools ? `/sbin/${name}` : undefined);
    return new Firewall({ proc, find, run, stream, open: () => kernel });
  };

  const targets = async (of: Firewall) =>
    (await of.rules(signal)).map(({ origin, family, target }) => `${origin} ${family} ${target}`);

  it('reports off until it is read', () => assert.deepEqual(firewall({}).status(), { state: 'off' }));

  it('returns no rules if none are configured', async () => {
    legacyTables('ip', '');
    const read = firewall({ nft: EMPTY, 'iptables-nft-save': '', 'iptables-legacy-save': '' });
    assert.deepEqual(await read.rules(signal), []);
    assert.deepEqual(read.status(), { state: 'on', source: 'nft' });
    assert.deepEqual(ran, ['nft']);
  });

  it('returns the rules of nftables and of legacy iptables, for both families', async () => {
    legacyTables('ip', 'nat\nfilter\n');
    legacyTables('ip6', 'filter\n');
    const read = firewall({
      nft: filter({ drop: null }),
      'iptables-legacy-save': saved('-j ACCEPT'),
      'ip6tables-legacy-save': saved('-j DROP'),
    });
    assert.deepEqual(await targets(read), [
      'nftables ip drop',
      'nftables ip policy drop',
      'iptables ip ACCEPT',
      'iptables ip policy drop',
      'iptables ip policy accept',
      'iptables ip6 DROP',
      'iptables ip6 policy drop',
      'iptables ip6 policy accept',
    ]);
    assert.deepEqual(read.status(), { state: 'on', source: 'nft+iptables' });
  });

  describe('with rules for which nft has only names', () => {
    const partial = filter({ xt: { type: 'match', name: 'recent' } }, { accept: null });

    it('reads them from iptables-nft-save, and returns none twice', async () => {
      const read = firewall({ nft: partial, 'iptables-nft-save': saved('-m recent --set -j ACCEPT') });
      const rules = await read.rules(signal);
      assert.deepEqual(
        rules.map(({ origin, chain, target, matches }) => [origin, chain, target, matches]),
        [
          ['nftables', 'INPUT', 'ACCEPT', { recent: 'set' }],
          ['nftables', 'INPUT', 'policy drop', { hook: 'input', 'chain type': 'filter', 'hook priority': '0' }],
        ],
      );
      assert.deepEqual(read.status(), { state: 'on', source: 'nft+iptables' });
    });

    for (const [what, tools] of Object.entries({
      'it is not installed': {},
      'it fails': { 'iptables-nft-save': new ToolError('it fails', { exitStatus: 1 }) },
      'it does not know the table': { 'iptables-nft-save': "# Table `filter' is incompatible, use 'nft' tool.\n" },
      'the rules have changed meanwhile': { 'iptables-nft-save': saved('-j ACCEPT', '-m recent --set -j ACCEPT') },
    })) {
      it(`returns their names when ${what}, and reports that there are more`, async () => {
        const read = firewall({ nft: partial, ...tools });
        const [rule] = await read.rules(signal);
        assert.deepEqual([rule?.action, rule?.matches], ['Allow', { 'xt match': 'recent' }]);
        const { state, reason = '' } = read.status();
        assert.equal(state, 'degraded');
        assert.match(reason, /not their arguments \(ip filter\)\. Install iptables/);
      });
    }

    it('finds all of them on a real kernel', async () => {
      const read = firewall({
        nft: golden('iptables-nft.json'),
        'iptables-nft-save': golden('iptables-nft-save.txt'),
        'ip6tables-nft-save': golden('ip6tables-nft-save.txt'),
      });
      const rules = await read.rules(signal);
      assert.deepEqual(read.status(), { state: 'on', source: 'nft+iptables' });
      const listed = JSON.parse(golden('iptables-nft.json')).nftables as {
        rule?: unknown;
        chain?: { hook?: string };
      }[];
      const expected = listed.filter(({ rule, chain }) => rule !== undefined || chain?.hook !== undefined).length;
      assert.equal(rules.length, expected);
      assert.ok(rules.every(({ matches }) => !('xt match' in matches)));
    });
  });

  describe('without nft', () => {
    it('returns no rules if the kernel reports none', async () => {
      const kernel = new Kernel(done());
      const read = firewall({}, kernel);
      assert.deepEqual(await read.rules(signal), []);
      assert.deepEqual(read.status(), { state: 'on', source: 'netlink' });
      assert.equal(kernel.closed, true);
    });

    it("returns no rules if the kernel lacks nftables' netlink family, even if the request is refused", async () => {
      const refusedBy = (code: string) => {
        const cause = Object.assign(new Error(code), { code });
        const refusal = new AgentError('SOCKET_UNAVAILABLE', 'refused', 'Grant it.', { cause });
        return new Firewall({
          proc,
          find: () => undefined,
          open: () => {
            throw refusal;
          },
        });
      };
      const without = refusedBy('EPROTONOSUPPORT');
      assert.deepEqual(await without.rules(signal), []);
      assert.deepEqual(without.status(), { state: 'on', source: 'netlink' });
      assert.equal(await without.trace(), '0');
      for (const code of ['EPERM', 'EAFNOSUPPORT', 'EINVAL']) {
        await assert.rejects(refusedBy(code).rules(signal), { id: 'SOURCE_UNREADABLE' });
        assert.equal(await refusedBy(code).trace(), undefined);
      }
    });

    it('returns the iptables rules if there are no others', async () => {
      const read = firewall(
        { 'iptables-nft-save': saved('-j ACCEPT') },
        new Kernel(Buffer.concat([named(2, 'filter'), done()])),
      );
      assert.deepEqual(await targets(read), [
        'nftables ip ACCEPT',
        'nftables ip policy drop',
        'nftables ip policy accept',
      ]);
      assert.deepEqual(read.status(), { state: 'on', source: 'iptables' });
    });

    it('names the tables that it cannot read', async () => {
      const kernel = new Kernel(Buffer.concat([named(2, 'filter'), named(1, 'mine'), done()]));
      const read = firewall({ 'iptables-nft-save': saved('-j ACCEPT') }, kernel);
      assert.equal((await read.rules(signal)).length, 3);
      const { state, source, reason = '' } = read.status();
      assert.deepEqual([state, source], ['degraded', 'iptables']);
      assert.match(reason, /without nft \(inet mine\)\. Install nftables/);
    });

    it('never treats unreadable tables as empty', async () => {
      for (const kernel of [
        new Kernel(forbidden()),
        new Kernel(),
        new Kernel(Buffer.concat([named(1, 'mine'), done()])),
      ]) {
        const read = firewall({}, kernel);
        await assert.rejects(read.rules(signal), {
          id: 'SOURCE_UNREADABLE',
          message: /without nft/,
          remedy: /^Install nftables/,
        });
        assert.equal(read.status().state, 'unavailable');
      }
    });

    it('returns the legacy iptables rules anyway', async () => {
      legacyTables('ip', 'filter\n');
      const read = firewall({ 'iptables-legacy-save': saved() }, new Kernel(forbidden()));
      assert.equal((await read.rules(signal)).length, 2);
      assert.equal(read.status().state, 'degraded');
      assert.equal(read.status().source, 'iptables');
    });
  });

  it('names the privilege to grant if nft is not permitted', async () => {
    const read = firewall({ nft: notRoot }, new Kernel(forbidden()));
    await assert.rejects(read.rules(signal), {
      id: 'SOURCE_UNREADABLE',
      message: /Operation not permitted/,
      remedy: /^Grant the agent CAP_NET_ADMIN/,
    });
  });

  for (const [answer, remedy] of [
    ['no JSON', /^Run "nft -j list ruleset" as root/],
    [
      new ToolError('/usr/sbin/nft exited with status 1: Error: JSON support not compiled-in', { exitStatus: 1 }),
      /with JSON support/,
    ],
    [new ToolError('/usr/sbin/nft timed out', { code: 'ETIMEDOUT' }), /fewer rules/],
    [new ToolError('/usr/sbin/nft could not be run: ENOMEM', { code: 'ENOMEM' }), /^Run/],
  ] as const) {
    it(`explains what to do about "${answer instanceof Error ? answer.message : answer}"`, async () => {
      const kernel = new Kernel(Buffer.concat([named(1, 'mine'), done()]));
      await assert.rejects(firewall({ nft: answer }, kernel).rules(signal), { id: 'SOURCE_UNREADABLE', remedy });
    });
  }

  it('omits the contents of sets if they are too large', async () => {
    const read = firewall({ nft: tooMuch, 'nft -t': filter({ drop: null }) });
    assert.equal((await read.rules(signal)).length, 2);
    assert.deepEqual(read.status(), {
      state: 'on',
      source: 'nft',
      reason: 'the contents of named sets are left out: the listing would be too large',
    });
  });

  it('returns the first rules of each chain if there are too many, and all policies', async () => {
    const family = 'inet';
    const rules = (chain: string, count: number, verdict: object) =>
      Array.from({ length: count }, (_, index) => ({
        rule: {
          family,
          table: 't',
          chain,
          expr: [{ match: { op: '==', left: { meta: { key: 'mark' } }, right: index } }, verdict],
        },
      }));
    const hook = { type: 'filter', prio: 0 };
    const nft = JSON.stringify({
      nftables: [
        { chain: { family, table: 't', name: 'block', ...hook, hook: 'input', policy: 'accept' } },
        { chain: { family, table: 't', name: 'lan' } },
        ...rules('block', 60_000, { drop: null }),
        ...rules('block', 1, { jump: { target: 'lan' } }),
        ...rules('lan', 100, { accept: null }),
        { chain: { family, table: 'u', name: 'in', ...hook, hook: 'input', policy: 'drop' } },
      ],
    });
    const read = firewall({ nft });
    const found = await read.rules(signal);
    const { state, reason = '', leftOut = 0 } = read.status();
    assert.equal(found.length + leftOut, 60_101 + 2);
    assert.ok(leftOut > 10_000 && leftOut < 50_000, `${leftOut}`);
    assert.equal(state, 'degraded');
    assert.match(
      reason,
      new RegExp(`^${leftOut} rules are left out because .* \\(${leftOut} of inet t block\\)\\. Use fewer`),
    );
    const [first] = found;
    assert.deepEqual([first?.chain, first?.matches], ['block', { mark: '0x0' }]);
    assert.deepEqual(
      found.filter(({ target }) => target.startsWith('policy')).map(({ chain, priority }) => [chain, priority]),
      [
        ['block', 60_001],
        ['in', 0],
      ],
    );
    const lan = found.filter(({ chain }) => chain === 'lan');
    assert.deepEqual([lan.length, lan.every(({ enabled, direction }) => enabled && direction === 'In')], [100, true]);
    assert.deepEqual(ran, ['nft']);
  });

  it('yields to other work while it reads 20,000 rules', async () => {
    const rule = (index: number) => ({
      rule: {
        family: 'inet',
        table: 't',
        chain: 'block',
        handle: index,
        expr: [
          {
            match: {
              op: '==',
              left: { payload: { protocol: 'ip', field: 'saddr' } },
              right: `10.0.${index >> 8}.${index & 255}`,
            },
          },
          { match: { op: '==', left: { payload: { protocol: 'tcp', field: 'dport' } }, right: index & 1023 } },
          { counter: { packets: 0, bytes: 0 } },
          { drop: null },
        ],
      },
    });
    const output = Buffer.from(JSON.stringify({ nftables: Array.from({ length: 20_000 }, (_, index) => rule(index)) }));
    const stream: typeof streamTool = async (_path, _args, _options, accept) => {
      for (let at = 0; at < output.length; at += 65_536) {
        accept(output.subarray(at, at + 65_536));
        await nextTurn();
      }
    };
    const read = new Firewall({
      proc,
      find: (name) => (name === 'nft' ? name : undefined),
      stream,
      open: () => new Kernel(done()),
    });
    const turns = monitorEventLoopDelay({ resolution: 1 });
    turns.enable();
    const found = await read.rules(signal);
    turns.disable();
    assert.equal(found.length + (read.status().leftOut ?? 0), 20_000);
    // The longest turn is about 20 ms on an idle machine, and about 500 ms without slices.
    assert.ok(turns.max / 1e6 < 250, `${Math.round(turns.max / 1e6)} ms`);
    process.stdout.write(`      longest turn: ${Math.round(turns.max / 1e6)} ms, ${found.length} rules\n`);
  });

  it('reports when even the shortened ruleset is too large', async () => {
    const kernel = new Kernel(Buffer.concat([named(1, 'mine'), done()]));
    await assert.rejects(firewall({ nft: tooMuch, 'nft -t': tooMuch }, kernel).rules(signal), {
      remedy: /fewer rules/,
    });
  });

  describe('with legacy tables', () => {
    it('names the tables that no tool can list', async () => {
      legacyTables('ip6', 'filter\nmangle\n');
      const read = firewall({ nft: filter({ drop: null }) });
      assert.equal((await read.rules(signal)).length, 2);
      const { state, source, reason = '' } = read.status();
      assert.deepEqual([state, source], ['degraded', 'nft']);
      assert.match(reason, /ip6 filter, ip6 mangle are not readable without ip6tables-legacy-save\. Install iptables/);
    });

    it('runs the old tool of iptables before 1.8', async () => {
      legacyTables('ip', 'filter\n');
      const read = firewall({ nft: EMPTY, 'iptables-save': saved('-j DROP') });
      assert.equal((await targets(read))[0], 'iptables ip DROP');
    });

    it('does not mistake the new iptables-save for the old one', async () => {
      legacyTables('ip', 'filter\n');
      const read = firewall({ nft: EMPTY, 'iptables-save': saved('-j DROP'), 'iptables-nft-save': '' });
      await assert.rejects(read.rules(signal), { id: 'SOURCE_UNREADABLE', message: /without iptables-legacy-save/ });
    });

    it('names the privilege to grant if it may not read them', async () => {
      legacyTables('ip', 'filter\n');
      const denied = new ToolError(
        'iptables-save v1.8.11 (legacy): Cannot initialize: Permission denied (you must be root)',
        { exitStatus: 1 },
      );
      const read = firewall({ nft: filter({ drop: null }), 'iptables-legacy-save': denied });
      await read.rules(signal);
      assert.match(read.status().reason ?? '', /Cannot initialize: .*CAP_NET_RAW/);
    });

    it('never treats tables as empty if their names are unreadable', async () => {
      rmSync(join(proc, 'net'), { recursive: true });
      writeFileSync(join(proc, 'net'), ''); // ENOTDIR, for root too
      const read = firewall({ nft: EMPTY });
      await assert.rejects(read.rules(signal), { id: 'SOURCE_UNREADABLE', message: /legacy iptables \(ip\).*ENOTDIR/ });
    });
  });

  it('stops when it is aborted', async () => {
    const stop = new AbortController();
    const run: typeof runTool = async () => {
      stop.abort(new Error('stopping'));
      throw notRoot;
    };
    const find = () => '/sbin/nft';
    await assert.rejects(
      new Firewall({ proc, find, run, stream: run as never, open: () => new Kernel(done()) }).rules(stop.signal),
      /stopping/,
    );
  });
});

describe('the trace of the packet filter', () => {
  const numbered = (id: number) => {
    const payload = Buffer.alloc(12);
    writeU16(payload, 4, 8);
    writeU16(payload, 6, 1);
    payload.writeUInt32BE(id, 8);
    return encodeMessage((10 << 8) | 15, 0, 1, payload);
  };
  let proc: string;
  beforeEach(() => {
    proc = temporaryFolder();
    mkdirSync(join(proc, 'net'));
  });
  const traceOf = (kernel: Kernel) => new Firewall({ proc, open: () => kernel }).trace();

  it('is the number of the ruleset, read without any tool', async () => {
    const kernel = new Kernel(numbered(41));
    assert.equal(await traceOf(kernel), '41');
    assert.ok(kernel.closed);
    assert.notEqual(await traceOf(new Kernel(numbered(42))), '41');
  });

  it('is unknown while legacy iptables has tables, or when the kernel refuses the request', async () => {
    assert.equal(await traceOf(new Kernel(forbidden())), undefined);
    writeFileSync(join(proc, 'net/ip6_tables_names'), '');
    assert.equal(await traceOf(new Kernel(numbered(41))), '41');
    writeFileSync(join(proc, 'net/ip6_tables_names'), 'filter\n');
    assert.equal(await traceOf(new Kernel(numbered(41))), undefined);
  });
});
