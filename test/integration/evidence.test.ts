import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, minutes, seconds } from '../../src/core/base/duration.ts';
import { type ReceivedMessage, recordOf } from '../../src/emulator/message-log.ts';
import { nodeFlagsOf } from '../node-flags.ts';
import { type AgentProcess, PROGRAM, STEADY, TestBed } from './test-bed.ts';

const numberOf = ({ applicationProperties }: ReceivedMessage) => Number(applicationProperties.Sequence);

/** The chain of messages across faults and kills, and what their owner can prove with it. */
describe('The evidence in messages @release', function () {
  this.timeout(minutes(10));
  let bed: TestBed;
  let agent: AgentProcess;

  beforeEach(async () => {
    bed = await TestBed.open({ desired: STEADY });
    bed.startWith(STEADY);
  });
  afterEach(() => bed.close());

  /** Resolves once the hub has accepted and acknowledged another message. After three resets, the agent may wait for 80 s. */
  const another = async (count = 1) => {
    const { messages } = bed.hub;
    const before = new Set(messages.map(({ sequence }) => sequence));
    const fresh = () => messages.filter(({ sequence, duplicate }) => !before.has(sequence) && !duplicate);
    await bed.waitForEvents(() => fresh().length >= count, minutes(5));
  };
  const killed = async () => {
    agent.kill('SIGKILL');
    await agent.exited;
    agent = bed.startAgent();
  };
  /** Returns the exit status and output of the command. */
  const verify = (messages: readonly ReceivedMessage[]) => {
    const file = bed.write('messages.jsonl', messages.map((message) => `${recordOf(message)}\n`).join(''));
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [...nodeFlagsOf(PROGRAM), PROGRAM, 'verify-chain', file],
      {
        encoding: 'utf8',
      },
    );
    return { status, text: `${stdout}${stderr}` };
  };

  it('proves that no message is missing across outages, kills and splits, and reveals each manipulation', async () => {
    const { hub } = bed;
    agent = bed.startAgent();
    await another(2);

    hub.faults.inject({ kind: 'dropAcknowledgements', count: 1 }); // accepted, and repeated
    await hub.waitForMessage(({ duplicate }) => duplicate, minutes(2));
    await another();

    await hub.offline();
    await systemClock.sleep(seconds(3)); // for events that wait
    await hub.online();
    await another();

    hub.faults.inject({ kind: 'resetOnPublish', count: 3 }); // then it is split
    await another(2);

    for (let kill = 0; kill < 3; kill += 1) {
      hub.faults.inject({ kind: 'delayAcknowledgements', ms: 3_000, count: 1 }); // killed while a message is in flight
      await another();
      await systemClock.sleep(milliseconds(kill * 700));
      await killed();
      await another();
    }
    agent.kill('SIGTERM');
    await agent.exited;

    const messages = [...hub.messages];
    const numbers = messages.map(numberOf);
    assert.ok(messages.some(({ applicationProperties }) => applicationProperties.Abandoned !== undefined));
    assert.ok(new Set(numbers).size < numbers.length, 'nothing was repeated');
    assert.equal(new Set(messages.map(({ applicationProperties }) => applicationProperties.Chain)).size, 1);
    for (const message of messages) {
      for (const other of messages) {
        const isSame = message.systemProperties.messageId === other.systemProperties.messageId;
        assert.equal(isSame, numberOf(message) === numberOf(other));
        if (isSame) assert.equal(message.body, other.body);
      }
    }
    const whole = verify(messages);
    assert.equal(whole.status, 0, whole.text);

    const once = messages.filter((message) => numbers.filter((number) => number === numberOf(message)).length === 1);
    const givenUp = new Set(messages.flatMap(({ applicationProperties }) => rangeOf(applicationProperties.Abandoned)));
    const firm = once.filter((message) => !givenUp.has(numberOf(message)) && message !== messages.at(-1));
    assert.ok(firm.length >= 6, String(firm.length));
    for (const message of [firm[0], firm[1], firm[Math.floor(firm.length / 2)], firm.at(-1)]) {
      assert.ok(message);
      const at = messages.indexOf(message);
      const removed = verify(messages.toSpliced(at, 1));
      assert.equal(removed.status, 1, `without ${numberOf(message)}:\n${removed.text}`);
      assert.match(removed.text, new RegExp(`WRONG +messages? (\\d+ to )?${numberOf(message)} (is|are) missing`));
      const altered = verify(
        messages.with(at, { ...message, body: message.body.replace('"AgentVersion"', '"agentVersion"') }),
      );
      assert.equal(altered.status, 1, `with another ${numberOf(message)}:\n${altered.text}`);
      assert.match(altered.text, new RegExp(`WRONG .*message ${numberOf(message)} `));
      const other = firm.find((any) => numberOf(any) > numberOf(message)) ?? firm[0];
      assert.ok(other);
      const swapped = verify(messages.with(at, other).with(messages.indexOf(other), message));
      assert.equal(swapped.status, 1, `${numberOf(message)} and ${numberOf(other)} swapped:\n${swapped.text}`);
      assert.match(swapped.text, /WRONG +message \d+ \(line \d+\) comes after message/);
    }
  });

  it('starts another chain after a loss of the state, with its id in the status', async () => {
    agent = bed.startAgent();
    await another(2);
    const { delivery } = await agent.status();
    const chains = () => [...new Set(bed.hub.messages.map(({ applicationProperties }) => applicationProperties.Chain))];
    assert.deepEqual(chains(), [delivery.chain]);
    agent.kill('SIGTERM');
    await agent.exited;
    rmSync(join(bed.directory, 'state/message-chain.json'));
    agent = bed.startAgent();
    const known = bed.hub.messages.length;
    await another();
    assert.equal(numberOf(bed.hub.messages[known] as ReceivedMessage), 1);
    const { delivery: after } = await agent.status();
    assert.notEqual(after.chain, delivery.chain);
    assert.deepEqual(chains(), [delivery.chain, after.chain]);
  });

  it('has one chain for marked messages and one for all others', async () => {
    bed.writeConfiguration({ messageRouting: 'both' });
    agent = bed.startAgent();
    await another(6);
    agent.kill('SIGTERM');
    await agent.exited;
    const { messages } = bed.hub;
    const marked = messages.filter(({ systemProperties }) => systemProperties.interfaceId !== undefined);
    const unmarked = messages.filter(({ systemProperties }) => systemProperties.interfaceId === undefined);
    for (const all of [marked, unmarked]) {
      assert.ok(all.length >= 3);
      assert.deepEqual(
        all.map(numberOf),
        all.map((_, at) => at + 1),
      );
    }
    assert.equal(verify(messages).status, 0);
  });
});

/** Returns the numbers in `Abandoned`. */
function rangeOf(text = ''): number[] {
  const [first = 0, last = first] = text.split(/[,-]/).map(Number);
  return text === '' ? [] : Array.from({ length: last - first + 1 }, (_, at) => first + at);
}
