import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sinon from 'sinon';
import { MessageChain } from '../../../src/agent/pipeline/message-chain.ts';
import type { Done, StateFiles } from '../../../src/agent/state/state-files.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { minutes, seconds } from '../../../src/core/base/duration.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import { LONGEST_EVIDENCE, type Message, propertiesOf, sizeOf } from '../../../src/core/contract/message.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';
import { quietLog } from './memory-queues.ts';

const ZEROS = '0'.repeat(64);
const digestOf = (body: string) => createHash('sha256').update(body).digest('hex');

/** A message whose id follows from its body, as it does from a pack's events. */
const message = (body: string): Message => ({
  id: digestOf(body).slice(0, 36),
  body,
  bodyBytes: Buffer.byteLength(body),
  priority: 'High',
  marking: 'telemetry',
});

/** A disk in the test's hand, on top of a real one. */
class Disk implements StateFiles {
  writes = 0;
  /** `hang`: takes changes, and never says that they are made. */
  state: 'works' | 'fails' | 'hangs' = 'works';
  readonly #pending: (() => void)[] = [];

  replace(path: string, contents: string, done: Done): void {
    this.writes += 1;
    if (this.state === 'fails') done(new Error('EIO'));
    else if (this.state === 'hangs') this.#pending.push(() => immediateStateFiles.replace(path, contents, done));
    else immediateStateFiles.replace(path, contents, done);
  }

  remove = immediateStateFiles.remove;
  settled = async () => {};

  /** Makes the changes that hang. */
  wake(): void {
    this.state = 'works';
    for (const change of this.#pending.splice(0)) change();
  }
}

describe('MessageChain', () => {
  let file: string;
  let disk: Disk;
  let logged: LogLine[];
  let time: sinon.SinonFakeTimers | undefined;

  beforeEach(() => {
    file = join(temporaryFolder(), 'message-chain.json');
    disk = new Disk();
    logged = [];
  });
  afterEach(() => {
    time?.restore();
    time = undefined;
  });

  /** A run of the agent. */
  const open = () => new MessageChain({ file, clock: systemClock, log: quietLog(logged), files: disk });
  const evidenceOf = async (chain: MessageChain, body: string) => {
    const { evidence } = await chain.numbered(message(body));
    assert.ok(evidence);
    return evidence;
  };

  it('counts messages up by one, each with the digest of the acknowledged one before it', async () => {
    const chain = open();
    const all = [];
    for (const body of ['a', 'b', 'c']) {
      all.push(await evidenceOf(chain, body));
      chain.accepted();
    }
    assert.deepEqual(all, [
      { chain: chain.id, sequence: 1, previousDigest: ZEROS },
      { chain: chain.id, sequence: 2, previousDigest: digestOf('a') },
      { chain: chain.id, sequence: 3, previousDigest: digestOf('b') },
    ]);
  });

  it('gives a repeat what it had, without another write', async () => {
    const chain = open();
    const first = await chain.numbered(message('a'));
    const { writes } = disk;
    assert.deepEqual(await chain.numbered(message('a')), first);
    assert.equal(disk.writes, writes);
  });

  it('gives the same body another number once it was acknowledged, and the message another id', async () => {
    const chain = open();
    const first = await chain.numbered(message('a'));
    chain.accepted();
    const second = await chain.numbered(message('a'));
    assert.deepEqual([first.evidence?.sequence, second.evidence?.sequence], [1, 2]);
    assert.notEqual(first.id, second.id);
  });

  it('names messages that were tried and not sent again', async () => {
    const chain = open();
    await evidenceOf(chain, 'a');
    chain.accepted();
    const abandoned = [];
    for (const body of ['b', 'c', 'd', 'e', 'f']) abandoned.push((await evidenceOf(chain, body)).abandoned);
    assert.deepEqual(abandoned, [undefined, '2', '2,3', '2-4', '2-5']);
    assert.equal((await evidenceOf(chain, 'g')).previousDigest, digestOf('a'));
    chain.accepted();
    assert.deepEqual(await evidenceOf(chain, 'h'), { chain: chain.id, sequence: 8, previousDigest: digestOf('g') });
  });

  it('treats the same events with another body as another message', async () => {
    const chain = open();
    const { id } = message('a');
    await chain.numbered({ ...message('a'), id });
    const { evidence } = await chain.numbered({ ...message('a, with a corrected time'), id });
    assert.deepEqual([evidence?.sequence, evidence?.abandoned], [2, '1']);
  });

  describe('over restarts', () => {
    it('continues the chain after a restart, before and after an acknowledgement', async () => {
      const chain = open();
      await evidenceOf(chain, 'a');
      chain.accepted();
      const sent = await open().numbered(message('b'));
      assert.deepEqual(sent.evidence, { chain: chain.id, sequence: 2, previousDigest: digestOf('a') });
      assert.deepEqual(await open().numbered(message('b')), sent);
      const other = await evidenceOf(open(), 'c');
      assert.deepEqual(other, { chain: chain.id, sequence: 3, previousDigest: digestOf('a'), abandoned: '2' });
    });

    it('has each number on disk before it returns it', async () => {
      const chain = open();
      for (const body of ['a', 'b']) {
        const { sequence } = await evidenceOf(chain, body);
        assert.equal(JSON.parse(readFileSync(file, 'utf8')).sequence, sequence);
        chain.accepted();
      }
    });

    for (const [what, contents] of [
      ['is not JSON', 'x'],
      ['is of another kind', '{"sequence":7}'],
      ['is huge', `"${'x'.repeat(100_000)}"`],
    ] as const) {
      it(`begins another chain when the file ${what}`, async () => {
        const chain = open();
        await evidenceOf(chain, 'a');
        writeFileSync(file, contents);
        const next = open();
        assert.notEqual(next.id, chain.id);
        assert.deepEqual(await evidenceOf(next, 'b'), { chain: next.id, sequence: 1, previousDigest: ZEROS });
        assert.ok(logged.some(({ message: line }) => line.startsWith('Could not read the number of the last message')));
      });
    }
  });

  describe('while the disk does not take numbers', () => {
    /** Chain and number of each message that was sent, with its body. */
    const sent = new Map<string, string>();
    const send = async (chain: MessageChain, body: string) => {
      const { chain: id, sequence } = await evidenceOf(chain, body);
      const other = sent.get(`${id} ${sequence}`);
      assert.ok(other === undefined || other === body, `${other} and ${body} have the same number`);
      sent.set(`${id} ${sequence}`, body);
      chain.accepted();
      return id;
    };

    it('sends messages in a chain that no later run continues, joined to the one before', async () => {
      const chain = open();
      const kept = await send(chain, 'a');
      disk.state = 'fails';
      const { chain: temporary, ...rest } = await evidenceOf(chain, 'b');
      assert.notEqual(temporary, kept);
      assert.equal(chain.id, temporary);
      assert.deepEqual(rest, { sequence: 1, previousDigest: digestOf('a') });
      chain.accepted();
      assert.equal(await send(chain, 'c'), temporary);
      assert.equal(logged.filter(({ level }) => level === 'warn').length, 1);
      disk.state = 'works';
      const next = open();
      assert.equal(next.id, kept);
      await send(next, 'd');
    });

    it('retries reading the disk after a while and keeps the chain once it is read', async () => {
      time = sinon.useFakeTimers();
      const chain = open();
      disk.state = 'fails';
      const first = await send(chain, 'a');
      const { writes } = disk;
      assert.equal(await send(chain, 'b'), first);
      assert.equal(disk.writes, writes);
      await time.tickAsync(minutes(1));
      const second = await send(chain, 'c'); // the attempt may be partly on disk
      assert.notEqual(second, first);
      disk.state = 'works';
      await time.tickAsync(minutes(2));
      assert.equal(await send(chain, 'd'), second);
      assert.equal(await send(open(), 'e'), second);
    });

    it('waits five seconds for a disk that hangs, once', async () => {
      time = sinon.useFakeTimers();
      const chain = open();
      const kept = await send(chain, 'a');
      disk.state = 'hangs';
      const late = send(chain, 'b');
      await time.tickAsync(seconds(4));
      assert.equal(await Promise.race([late, 'waits']), 'waits');
      await time.tickAsync(seconds(1));
      const temporary = await late;
      assert.notEqual(temporary, kept);
      for (const body of ['c', 'd']) assert.equal(await send(chain, body), temporary);
      await time.tickAsync(minutes(60));
      assert.equal(await send(chain, 'e'), temporary); // the first write still hangs
      disk.wake();
      assert.equal(await send(chain, 'f'), temporary);
      for (const body of ['g', 'h']) assert.equal(await send(open(), body), temporary);
    });

    it('uses no number twice, regardless of the data on disk when the agent is killed', async () => {
      time = sinon.useFakeTimers();
      let chain = open();
      for (let step = 0; step < 300; step += 1) {
        const chance = (step * 7_919) % 11;
        if (chance === 0) disk.state = 'hangs';
        else if (chance === 3) disk.state = 'fails';
        else if (chance === 5) disk.wake();
        else if (chance === 8) chain = open(); // killed
        const sending = send(chain, `body ${step}`);
        await time.tickAsync(seconds(30));
        await sending;
      }
      assert.equal(sent.size >= 300, true);
    });
  });

  it('takes as many bytes as a message is planned with, at most', async () => {
    const chain = open();
    const { chain: _, ...longest } = LONGEST_EVIDENCE;
    for (const body of ['a', 'b', 'c', 'd']) {
      const { evidence, ...bare } = await chain.numbered(message(body));
      assert.ok(evidence);
      assert.ok(sizeOf({ ...bare, evidence }) <= sizeOf({ ...bare, evidence: LONGEST_EVIDENCE }));
    }
    assert.equal(String(longest.sequence).length, 16);
  });

  it('is in the properties of the contract', async () => {
    const chain = open();
    await evidenceOf(chain, 'a');
    const { application } = propertiesOf(await chain.numbered(message('b')));
    assert.deepEqual(application, {
      MessagePriority: 'High',
      messageType: 'SecurityEvents',
      Chain: chain.id,
      Sequence: '2',
      PreviousDigest: ZEROS,
      Abandoned: '1',
    });
  });
});
