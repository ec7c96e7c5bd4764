import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { run } from '../../../src/agent/commands/verify-chain.ts';
import { MessageChain } from '../../../src/agent/pipeline/message-chain.ts';
import type { StateFiles } from '../../../src/agent/state/state-files.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { type Message, propertiesOf } from '../../../src/core/contract/message.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { quietLog } from '../pipeline/memory-queues.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';
import { worldOf } from './world.ts';

/** A message as the owner of a hub stores it. */
interface Kept {
  readonly applicationProperties: Record<string, string>;
  readonly body: string;
}

const bodyOf = (name: string) =>
  JSON.stringify({ AgentVersion: '1', AgentId: 'x', MessageSchemaVersion: '1.0', Events: [{ Id: name }] });

describe('vakt verify-chain', () => {
  let folder: string;
  let out: string[];
  let err: string[];
  const world = worldOf((line) => out.push(line), { stderr: (line) => err.push(line) });

  beforeEach(() => {
    folder = temporaryFolder();
  });

  let disk: StateFiles = immediateStateFiles;
  const open = () =>
    new MessageChain({ file: join(folder, 'chain.json'), clock: systemClock, log: quietLog(), files: disk });

  /**
   * Sends one message per step and returns the received ones. `name` is acknowledged, `name!` is not acknowledged,
   * `name?` is neither acknowledged nor received, and `name*3` is received three times. `#` is a restart.
   */
  async function sent(...steps: readonly string[]): Promise<Kept[]> {
    const all: Kept[] = [];
    let chain = open();
    for (const step of steps) {
      const [, name = '', how = '', times = '1'] = /^([^!?*]+)([!?*]?)(\d*)$/.exec(step) ?? [];
      if (name === '#') chain = open();
      if (name === '#') continue;
      const body = bodyOf(name);
      const bare: Message = { id: name, body, bodyBytes: body.length, priority: 'Low', marking: 'telemetry' };
      const message = await chain.numbered(bare);
      const { application } = propertiesOf(message);
      for (let n = 0; n < Number(times || 1); n += 1)
        if (how !== '?') all.push({ applicationProperties: { ...application }, body });
      if (how === '' || how === '*') chain.accepted();
    }
    return all;
  }

  /** @returns the exit status */
  async function verify(lines: readonly (string | object)[], ...options: string[]): Promise<number> {
    [out, err] = [[], []];
    const file = join(folder, 'messages.jsonl');
    writeFileSync(file, lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join(''));
    return run([file, ...options], world);
  }
  const wrong = () =>
    [...out, ...err].filter((line) => /^ *WRONG/.test(line)).map((line) => line.replace(/^ *WRONG +/, ''));
  const unproved = () =>
    out.filter((line) => line.startsWith('  not proved')).map((line) => line.replace(/^ *not proved +/, ''));

  /** Outages with repeats, splits and restarts. */
  const EVENTFUL = [
    'a',
    'b*3',
    'c!',
    'c',
    'd?',
    'e',
    'f!',
    'g?',
    'h',
    '#',
    'i',
    'j!',
    '#',
    'j',
    'k?',
    'l?',
    'm?',
    'n',
    'o',
  ];

  it('verify-chain proves a chain complete over repeats, messages that were given up, and restarts', async () => {
    const all = await sent(...EVENTFUL);
    assert.equal(await verify(all), 0, out.join('\n'));
    assert.match(
      out[0] ?? '',
      /^Chain [0-9a-f-]{36}: 10 messages, numbers 1 to 15, 4 repeated, 5 numbers given up by the agent$/,
    );
    assert.deepEqual(wrong(), []);
    assert.deepEqual(unproved(), [
      'number 4: only message 5 (line 7) says that the agent gave it up',
      'number 7: only message 8 (line 9) says that the agent gave it up',
      'numbers 11 to 13: only message 14 (line 13) says that the agent gave them up',
      'message 6 (line 8): the agent gave it up, so that no other confirms it',
      'message 15 (line 14), the last one, and whether others followed',
    ]);
  });

  /** Whether a message of EVENTFUL was received once and was not given up, so that its removal is detectable. */
  const isFirmly = (all: readonly Kept[], at: number) => {
    const number = (kept?: Kept) => kept?.applicationProperties.Sequence;
    return number(all[at]) !== '6' && all.filter((kept) => number(kept) === number(all[at])).length === 1;
  };

  it('verify-chain finds each removed message, unless it was repeated, given up or the last one', async () => {
    const all = await sent(...EVENTFUL);
    for (const [at, { applicationProperties }] of all.entries()) {
      const isFound = (await verify(all.toSpliced(at, 1))) === 1;
      assert.equal(isFound, isFirmly(all, at) && at < all.length - 1, `message ${applicationProperties.Sequence}`);
      if (isFound)
        assert.ok(
          wrong().some((text) =>
            new RegExp(`^messages? (\\d+ to )?${applicationProperties.Sequence} (is|are) missing`).test(text),
          ),
          wrong().join(),
        );
    }
  });

  it('verify-chain finds several removed messages', async () => {
    const all = await sent('a', 'b', 'c', 'd', 'e', 'f');
    assert.equal(await verify([...all.slice(0, 1), ...all.slice(4)]), 1);
    assert.deepEqual(wrong(), ['messages 2 to 4 are missing (unless those before 4 were given up)']);
    assert.equal(await verify(all.slice(2)), 1);
    assert.deepEqual(wrong(), ['messages 1 to 2 are missing (unless those before 2 were given up)']);
  });

  it('verify-chain finds each altered body, unless the message was given up or is the last one', async () => {
    const all = await sent(...EVENTFUL);
    for (const [at, kept] of all.entries()) {
      const { applicationProperties, body } = kept;
      const isProvable = applicationProperties.Sequence !== '6' && at < all.length - 1;
      const altered = all.with(at, { applicationProperties, body: body.replace('"1"', '"2"') });
      assert.equal((await verify(altered)) === 1, isProvable, `message ${applicationProperties.Sequence}`);
      if (isProvable)
        assert.match(wrong().join(), new RegExp(`message ${applicationProperties.Sequence} \\(line ${at + 1}\\)`));
    }
  });

  it('verify-chain finds each swap of two messages, of their bodies, or of their numbers', async () => {
    const all = await sent('a', 'b', 'c?', 'd', 'e', 'f', '#', 'g');
    for (const [i, one] of all.entries()) {
      for (const [j, other] of all.entries()) {
        if (j <= i) continue;
        const [Sequence, OtherSequence] = [one, other].map(
          ({ applicationProperties }) => applicationProperties.Sequence ?? '',
        );
        const where = `${Sequence} and ${OtherSequence}`;
        assert.equal(await verify(all.with(i, other).with(j, one)), 1, where);
        assert.ok(
          wrong().some((text) => text.includes(' comes after message ')),
          where,
        );
        const bodies = all.with(i, { ...one, body: other.body }).with(j, { ...other, body: one.body });
        assert.equal(await verify(bodies), 1, `bodies of ${where}`);
        const numbered = (kept: Kept, number: string) => ({
          ...kept,
          applicationProperties: { ...kept.applicationProperties, Sequence: number },
        });
        const numbers = all.with(i, numbered(one, OtherSequence ?? '')).with(j, numbered(other, Sequence ?? ''));
        assert.equal(await verify(numbers), 1, `numbers of ${where}`);
      }
    }
  });

  it('verify-chain finds a removed message that a forged property reports as given up', async () => {
    const all = await sent('a', 'b', 'c', 'd');
    const [, , third] = all;
    assert.ok(third);
    const Abandoned = '2';
    const forged = all.with(2, { ...third, applicationProperties: { ...third.applicationProperties, Abandoned } });
    assert.equal(await verify(forged.toSpliced(1, 1)), 1);
    assert.match(wrong().join(), /message 1 \(line 1\) is not what message 3 \(line 2\) says was sent before it/);
  });

  it('verify-chain finds an altered message that a forged property reports as given up', async () => {
    const all = await sent('a', 'b?', 'c', 'd', 'e');
    const [, third, fourth] = all;
    assert.ok(third && fourth);
    const altered = { ...third, body: third.body.replace('"c"', '"x"') };
    for (const options of [[], ['--partial']]) {
      assert.equal(await verify(all.with(1, altered).with(2, withProperty(fourth, 'Abandoned', '3')), ...options), 1);
      assert.deepEqual(wrong(), [
        'message 4 (line 3) says that message 2 was sent before it, message 3 (line 2) that the agent gave 2 up',
      ]);
    }
  });

  it('verify-chain finds a message that no longer reports earlier messages as given up', async () => {
    const all = await sent('a', 'b?', 'c?', 'd!', 'e', 'f');
    assert.equal(await verify(all), 0, out.join());
    const [, fourth, fifth] = all;
    assert.deepEqual(
      [fourth, fifth].map((kept) => kept?.applicationProperties.Abandoned),
      ['2,3', '2-4'],
    );
    assert.ok(fifth);
    assert.equal(await verify(all.with(2, withProperty(fifth, 'Abandoned', '4'))), 1);
    assert.match(wrong().join(), /^message 5 \(line 3\) says that message 3 was sent before it, message 4 /);
  });

  it('verify-chain reports a message as not proved if only a property reports that it was given up', async () => {
    const [first, , third, ...later] = await sent('a', 'b', 'c', 'd');
    assert.ok(first && third);
    const digest = createHash('sha256').update(first.body).digest('hex');
    const forged = withProperty(withProperty(third, 'Abandoned', '2'), 'PreviousDigest', digest);
    assert.equal(await verify([first, forged, ...later]), 0);
    assert.ok(unproved().includes('number 2: only message 3 (line 2) says that the agent gave it up'), out.join());
  });

  it('verify-chain follows a chain into the next one after a disk failure', async () => {
    const before = await sent('a', 'b', 'c!', '#');
    disk = { ...immediateStateFiles, replace: (_path, _contents, done) => done(new Error('EIO')) };
    const after = await sent('d', 'e');
    disk = immediateStateFiles;
    assert.equal(await verify([...before, ...after]), 0, [...out, ...err].join('\n'));
    assert.equal(out.filter((line) => line.startsWith('Chain')).length, 2);
    assert.deepEqual(unproved(), [
      'message 3 (line 3), the last one, and whether others followed',
      'message 2 (line 5), the last one, and whether others followed',
    ]);
    assert.equal(await verify([before[0] ?? '', ...after]), 1);
    assert.deepEqual(wrong(), ['the message before message 1 (line 2), in another chain, is missing or altered']);
  });

  it('verify-chain reports that no message joins the chains after the state was lost', async () => {
    const before = await sent('a', 'b');
    folder = temporaryFolder();
    const after = await sent('c', 'd');
    assert.equal(await verify([...before, ...after]), 0);
    assert.ok(
      unproved().includes('what the agent sent before message 1 (line 3), in another chain'),
      unproved().join(),
    );
  });

  it('verify-chain --partial accepts a file that starts in the middle of a chain', async () => {
    const all = await sent('a', 'b', 'c?', 'd', 'e', 'f');
    assert.equal(await verify(all.slice(2)), 1);
    assert.equal(await verify(all.slice(2), '--partial'), 0);
    assert.ok(unproved().includes('what came before message 4 (line 1)'));
    assert.equal(await verify(all.slice(2).toSpliced(1, 1), '--partial'), 1);
  });

  describe('the lines of a file', () => {
    it('verify-chain reads bodies as text, as JSON in the line, and in Base64', async () => {
      const all = await sent('a\u2028b', 'Ærøskøbing', 'c');
      const texts = all.map(({ applicationProperties, body }) => ({ enqueuedAt: 'now', applicationProperties, body }));
      const storage = all.map(
        ({ applicationProperties, body }) =>
          `{"EnqueuedTimeUtc":"now","Properties":${JSON.stringify(applicationProperties)},"SystemProperties":{},"Body":${body}}`,
      );
      const encoded = all.map(({ applicationProperties: Properties, body }) => ({
        Properties,
        Body: Buffer.from(body).toString('base64'),
      }));
      const indented = storage.map((line) => line.replace('"Events":[', '"Events" : [ '));
      const dry = all.map(({ applicationProperties: application, body }) => ({ application, body: JSON.parse(body) }));
      for (const lines of [texts, storage, encoded, indented, dry] as (string | object)[][]) {
        assert.equal(await verify(lines), 0, [...out, ...err].join('\n'));
        assert.equal(await verify(lines.with(1, lines[0] ?? '')), 1);
      }
    });

    it('verify-chain skips messages of other senders, and reports lines without valid properties', async () => {
      const all = await sent('a', 'b');
      assert.equal(await verify([...all, { body: '{"temperature":20}' }, { body: 'hello' }]), 0);
      assert.deepEqual(err, ['Skipped 2 messages of other senders.']);
      const [first] = all;
      assert.ok(first);
      for (const [line, problem] of [
        [{ body: first.body }, 'line 3 has no number'],
        ['{', 'line 3 is not a JSON object'],
        [{}, 'line 3 has no body'],
        [withProperty(first, 'Sequence', '0'), 'line 3 has no valid Sequence'],
        [withProperty(first, 'PreviousDigest', 'x'), 'line 3 has no valid PreviousDigest'],
        [withProperty(first, 'Abandoned', '7-9'), 'line 3 has no valid Abandoned'],
        [withProperty(first, 'Chain', ''), 'line 3 has no valid Chain'],
      ] as const) {
        assert.equal(await verify([...all, line]), 1);
        assert.deepEqual(wrong(), [problem]);
      }
    });

    describe('a line that other readers may parse differently', () => {
      let lines: readonly string[];
      let second: Kept;
      let body: string;
      /** The body that another reader would see. */
      const ALTERED = bodyOf('nothing');
      beforeEach(async () => {
        const all = await sent('a', 'b', 'c');
        lines = all.map(({ applicationProperties, body: text }) => inStorage(applicationProperties, text));
        [, second] = all as [Kept, Kept];
        ({ body } = second);
        assert.equal(await verify(lines), 0);
      });
      const inStorage = (properties: object, text: string) =>
        `{"EnqueuedTimeUtc":"now","Properties":${JSON.stringify(properties)},"SystemProperties":{},"Body":${text}}`;
      const encoded = (text: string | Buffer) => JSON.stringify(Buffer.from(text).toString('base64'));

      const properties = () => JSON.stringify(second.applicationProperties);
      const withBody = (text: string) => lines[1]?.replace(`"Body":${body}`, text) ?? '';
      const withProperties = (text: string) => lines[1]?.replace(`"Properties":${properties()}`, text) ?? '';
      const other = () => properties().replace('"Sequence":"2"', '"Sequence":"7"');
      const inObject = (text: string) => `{"Properties":${properties()},"Body":${text}}`;
      const doubled = () => body.replace('"Events":', '"Events":[],"Events":');

      for (const [what, line, problem] of [
        ['its body twice', () => withBody(`"Body":${body},"Body":${ALTERED}`), 'has its body more than once'],
        [
          'its body twice, the altered one first',
          () => withBody(`"Body":${ALTERED},"Body":${body}`),
          'has its body more than once',
        ],
        [
          'a second body under another name',
          () => withBody(`"Body":${ALTERED},"body":${body}`),
          'has its body more than once',
        ],
        [
          'a second body under a name with escapes',
          () => withBody(`"Body":${body},"\\u0042ody":${ALTERED}`),
          'has its body more than once',
        ],
        [
          'a second body under a name in capitals',
          () => withBody(`"BODY":${ALTERED},"Body":${body}`),
          'has its body more than once',
        ],
        [
          'a second body under a name with a NUL',
          () => withBody(`"Body\\u0000x":${ALTERED},"Body":${body}`),
          'has its body more than once',
        ],
        [
          'its properties twice',
          () => withProperties(`"Properties":${other()},"Properties":${properties()}`),
          'has its properties more than once',
        ],
        [
          'second properties under another name',
          () => withProperties(`"Properties":${properties()},"applicationProperties":${other()}`),
          'has its properties more than once',
        ],
        [
          'a sequence number twice',
          () => lines[1]?.replace('"Sequence":', '"Sequence":"7","Sequence":') ?? '',
          'has "Sequence" twice in its properties',
        ],
        [
          'a sequence number twice, once in lower case',
          () => lines[1]?.replace('"Sequence":', '"sequence":"7","Sequence":') ?? '',
          'has "Sequence" twice in its properties',
        ],
        ['an unrelated name twice', () => lines[1]?.replace('{"Enq', '{"x":1,"x":2,"Enq') ?? '', 'has "x" twice'],
        [
          'a nested name twice',
          () => lines[1]?.replace('"SystemProperties":{}', '"SystemProperties":{"a":{"x":1,"x":2}}') ?? '',
          'has "SystemProperties.a.x" twice',
        ],
        ['events twice', () => inObject(doubled()), 'has "Events" twice in its body'],
        ['events twice in a body as text', () => inObject(JSON.stringify(doubled())), 'has "Events" twice in its body'],
        ['events twice in a body in Base64', () => inObject(encoded(doubled())), 'has "Events" twice in its body'],
        [
          'events twice, once with escapes',
          () => inObject(body.replace('"Events":', '"\\u0045vents":[],"Events":')),
          'has "Events" twice in its body',
        ],
        [
          '__proto__ twice',
          () => inObject(body.replace('"Events":', '"__proto__":[],"__proto__":[],"Events":')),
          'has "__proto__" twice in its body',
        ],
        [
          'a sequence in a list',
          () => lines[1]?.replace('"Sequence":"2"', '"Sequence":["2"]') ?? '',
          'has no valid Sequence',
        ],
        [
          'half a surrogate pair in its body',
          () => inObject(JSON.stringify(body.replace('"b"', '"\ud800"'))),
          'has a body that is not valid Unicode',
        ],
        ['text after its JSON', () => `${lines[1]} {}`, 'is not a JSON object'],
        ['a NUL after its JSON', () => `${lines[1]}\0`, 'is not a JSON object'],
        ['a byte order mark', () => `\uFEFF${lines[1]}`, 'is not a JSON object'],
      ] as const) {
        it(`verify-chain rejects a line with ${what}`, async () => {
          assert.equal(await verify(lines.with(1, line())), 1);
          assert.ok(wrong().includes(`line 2 ${problem}`), wrong().join('\n'));
          // The last message is rejected too, although no other message proves it.
          assert.equal(await verify([lines[0] ?? '', line()]), 1);
        });
      }

      it('verify-chain rejects bytes that are not UTF-8, which other readers replace', async () => {
        const all = await sent('d', '\uFFFD', 'e');
        const file = join(folder, 'bytes.jsonl');
        const bytes = Buffer.from(all.map((kept) => `${JSON.stringify(kept)}\n`).join(''));
        const at = bytes.indexOf('\uFFFD');
        writeFileSync(file, Buffer.concat([bytes.subarray(0, at), Buffer.from([0xff]), bytes.subarray(at + 3)]));
        [out, err] = [[], []];
        assert.equal(await run([file, '--partial'], world), 1);
        assert.deepEqual(err, ['WRONG  line 2 is not valid UTF-8']);
      });

      it('verify-chain rejects a body in Base64 whose bytes are not UTF-8', async () => {
        const all = await sent('d', '\uFFFD', 'e');
        const kept = all.map(({ applicationProperties: Properties, body: text }) => {
          const [before = '', after] = text.split('\uFFFD');
          const bytes = after === undefined ? [before] : [before, Buffer.from([0xff]), after];
          return { Properties, Body: Buffer.concat(bytes.map((part) => Buffer.from(part))).toString('base64') };
        });
        assert.equal(await verify(kept, '--partial'), 1);
        assert.match(wrong().join(), /one of them was altered/);
      });

      it('verify-chain finds an altered number that some readers round to the original', async () => {
        const all = await sent('d', 'e', 'f');
        const numbered = (text: string) =>
          text.replace('"MessageSchemaVersion"', '"N":9007199254740992,"MessageSchemaVersion"');
        const [first, , third] = all as [Kept, Kept, Kept];
        const original = numbered(bodyOf('e'));
        const digest = createHash('sha256').update(original).digest('hex');
        const follower = { ...third.applicationProperties, PreviousDigest: digest };
        const texts = (text: string) => [
          inStorage(first.applicationProperties, first.body),
          inStorage(all[1]?.applicationProperties ?? {}, text),
          inStorage(follower, third.body),
        ];
        assert.equal(await verify(texts(original.replaceAll(',', ' , ')), '--partial'), 0, [...out, ...err].join('\n'));
        assert.equal(await verify(texts(original.replace('740992', '740993 ')), '--partial'), 1);
        assert.match(wrong().join(), /one of them was altered/);
      });

      it('verify-chain accepts messages of other senders with duplicate names or deep nesting', async () => {
        const others = ['{"body":{"t":1,"t":2}}', `{"body":${'['.repeat(20_000)}${']'.repeat(20_000)}}`];
        assert.equal(await verify([...lines, ...others]), 0, err.join('\n'));
      });
    });

    it('verify-chain rejects a missing file, and fails for an empty one', async () => {
      await assert.rejects(run([join(folder, 'none')], world), { name: 'UsageError' });
      await assert.rejects(run([], world), { name: 'UsageError', message: 'FILE is missing' });
      assert.equal(await verify([]), 1);
    });
  });

  it('verify-chain prints the id of a chain without control characters', async () => {
    const [message] = await sent('a');
    assert.ok(message);
    const hostile = withProperty(message, 'Chain', 'x\u001b[2J\u009b1A');
    await verify([hostile]);
    assert.match(out[0] ?? '', /^Chain x·\[2J·1A: 1 message/);
    await verify([hostile], '--json');
    assert.match(out[0] ?? '', /"chain":"x\\u001b\[2J\\u009b1A"/);
  });

  it('verify-chain stops on an abort while it waits for standard input', async () => {
    const stop = new AbortController();
    const stdin = Object.getOwnPropertyDescriptor(process, 'stdin') ?? assert.fail();
    Object.defineProperty(process, 'stdin', { configurable: true, value: new PassThrough() });
    try {
      const ended = run(['-'], { ...world, signal: stop.signal });
      setImmediate(() => stop.abort());
      await assert.rejects(ended, { name: 'AbortError' });
    } finally {
      Object.defineProperty(process, 'stdin', stdin);
    }
  });

  it('verify-chain --json prints one object per chain', async () => {
    await verify(await sent('a', 'b', 'c'), '--json');
    const [report, ...others] = out.map((line) => JSON.parse(line));
    assert.deepEqual(others, []);
    const { chain: _, unproved: __, ...counts } = report;
    assert.deepEqual(counts, { first: 1, last: 3, messages: 3, repeats: 0, abandoned: 0, wrong: [] });
  });
});

const withProperty = ({ applicationProperties, body }: Kept, name: string, value: string) => ({
  body,
  applicationProperties: { ...applicationProperties, [name]: value },
});
