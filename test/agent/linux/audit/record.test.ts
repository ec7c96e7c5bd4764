import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  ArgumentCollector,
  CALL_FIELDS,
  MAX_ARGUMENT_BYTES,
  parseCall,
  parseField,
  parseFields,
  parseUserFields,
} from '../../../../src/agent/linux/audit/record.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { golden } from './golden.ts';

const body = (text: string) => text.slice(text.indexOf('): ') + 3);

describe('parseFields', () => {
  it('returns the fields of a SYSCALL record of Linux 6.18', () => {
    const record = golden.find(({ type, text }) => type === 1300 && text.includes('syscall=59'));
    const fields = parseFields(body(record?.text ?? ''));
    assert.deepEqual(Object.keys(fields).join(' '), KEYS);
    assert.equal(fields.arch, 'c000003e');
    assert.equal(fields.success, 'yes');
    assert.equal(fields.exit, '0');
    assert.equal(fields.tty, '(none)');
    assert.equal(fields.comm, 'true');
    assert.equal(fields.exe, '/usr/bin/true');
    assert.equal(fields.key, 'vakt');
  });

  for (const [text, expected] of Object.entries({
    'a=1 b=2': { a: '1', b: '2' },
    'comm="two words" exe="/bin/x" key=(null)': { comm: 'two words', exe: '/bin/x' },
    'comm=6120622063 exe=2F746D702FC3A5 key="vakt"': { comm: 'a b c', exe: '/tmp/å', key: 'vakt' },
    'comm=FF41 pid=7': { comm: '\ufffdA', pid: '7' },
    'a0=6162 exe=61': { a0: '6162', exe: 'a' },
    'comm=616 exe=zz cwd=(none)': { comm: '616', exe: 'zz', cwd: '(none)' },
    'comm="open': { comm: 'open' },
    'subj=/usr/sbin/ntpd (enforce) key="x"': { subj: '/usr/sbin/ntpd', key: 'x' },
    'subj==unconfined key="x"': { subj: '=unconfined', key: 'x' },
    'pid=1 msg=\'op=login acct="root" addr=? res=success\'': {
      pid: '1',
      op: 'login',
      acct: 'root',
      addr: '?',
      res: 'success',
    },
    'a= b=': { a: '', b: '' },
    'nothing at all': {},
    '__proto__=1 a=2': { a: '2' },
    'a=1 a=2': { a: '1' },
  })) {
    it(`parses ${text}`, () => assert.deepEqual({ ...parseFields(text) }, expected));
  }

  it('keeps only the requested fields, and skips the rest', () => {
    const text = `arch=c000003e comm="ls" uid=0 exe="/usr/bin/ls" key="vakt" msg='op=x res=success' tty=pts0`;
    assert.deepEqual(
      { ...parseFields(text, new Set(['exe', 'res', 'tty'])) },
      { exe: '/usr/bin/ls', res: 'success', tty: 'pts0' },
    );
  });

  it('decodes the working directory', () => {
    assert.equal(parseField('cwd="/tmp"', 'cwd'), '/tmp');
    assert.equal(parseField('cwd=2F746D702F6120646972', 'cwd'), '/tmp/a dir');
    assert.equal(parseField('', 'cwd'), undefined);
  });

  it('bounds the size of fields', () => {
    const many = Array.from({ length: 10_000 }, (_, index) => `f${index}=1`).join(' ');
    assert.equal(Object.keys(parseFields(many)).length, 128);
  });

  it('never throws', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        parseFields(text);
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });

  it('round-trips any value', () => {
    const value = fc.stringMatching(/^[!#-~]{0,30}$/);
    fc.assert(
      fc.property(fc.dictionary(fc.stringMatching(/^[a-z][a-z0-9_-]{0,9}$/), value, { maxKeys: 30 }), (fields) => {
        const text = Object.entries(fields).map(([name, each]) => `${name}="${each}"`);
        assert.deepEqual({ ...parseFields(text.join(' ')) }, { ...fields });
      }),
      { numRuns: fuzzRuns(20_000) },
    );
  });
});

describe('parseUserFields', () => {
  const KERNEL = 'pid=4242 uid=0 auid=1000 ses=3';

  it('returns the kernel’s and the program’s fields', () => {
    const text = `${KERNEL} subj=unconfined msg='op=login acct="alice" exe="/usr/sbin/sshd" res=success'`;
    const { pid, auid, ses, subj, op, acct, exe, res } = parseUserFields(text);
    assert.deepEqual([pid, auid, ses, subj], ['4242', '1000', '3', 'unconfined']);
    assert.deepEqual([op, acct, exe, res], ['login', 'alice', '/usr/sbin/sshd', 'success']);
  });

  it('never replaces a field of the kernel with one of the program, even if the kernel omits it', () => {
    const forged = `msg='pid=1 uid=4711 auid=4711 ses=9 subj=init op=login pid=1 res=success'`;
    const { pid, uid, auid, ses, subj } = parseUserFields(`${KERNEL} subj=mine ${forged}`);
    assert.deepEqual([pid, uid, auid, ses, subj], ['4242', '0', '1000', '3', 'mine']);
    const bare = parseUserFields(`uid=0 ${forged}`);
    assert.deepEqual([bare.pid, bare.auid, bare.ses], [undefined, undefined, undefined]);
  });
});

describe('parseSyscall', () => {
  const same = (text: string) => assert.deepEqual(parseCall(text), parseFields(text, CALL_FIELDS), text);
  const calls = golden.filter(({ type }) => type === 1300).map(({ text }) => body(text));

  it('returns the fields that Linux 6.18 wrote', () => {
    assert.ok(calls.length > 5);
    for (const text of calls) same(text);
    assert.equal(parseCall(calls.find((text) => text.includes('syscall=59')) ?? '').exe, '/usr/bin/true');
  });

  it('decodes an encoded or missing image name', () => {
    for (const exe of ['2F746D702FC3A5', '(null)', '']) {
      const text = (calls[0] ?? '').replace(/exe="[^"]*"/, `exe=${exe}`);
      assert.ok(text.includes(`exe=${exe} `));
      same(text);
    }
  });

  it('agrees with the full parser, for any truncation or addition', () => {
    const where = fc.tuple(fc.constantFrom(...calls), fc.nat(400), fc.nat(20));
    // A space or a quote shifts the rest, so that another field may seem to exist.
    const added = fc.oneof(fc.constantFrom('', ' ', '"', '=', 'exe=', 'pid=7 ', ' exe="/bin/y"'), fc.string());
    fc.assert(
      fc.property(where, added, ([text, at, cut], more) => {
        const changed = text.slice(0, at) + more + text.slice(at + cut);
        if (!changed.includes("'")) same(changed); // which ends the text of programs, and no field of the kernel's
        parseCall(changed);
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});

const KEYS =
  'arch syscall success exit a0 a1 a2 a3 items ppid pid auid uid gid euid suid fsuid egid sgid fsgid tty ses comm exe key';

/** Text that is nearly a record. */
const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        'a0=',
        'a1_len=',
        'a1[0]=',
        'a99999999999[9]=',
        'argc=',
        'comm=',
        'exe="',
        '"',
        "'",
        "msg='",
        ' ',
        '=',
      ),
      fc.constantFrom('__proto__=', 'constructor=', '(null)', 'C3A5', 'F', '[', ']', '-1', '1e9', 'NaN', '\0', '\xff'),
      fc.string({ maxLength: 8 }),
    ),
    { maxLength: 30 },
  )
  .map((parts) => parts.join(''));

describe('ArgumentPieces', () => {
  const collect = (...records: string[]) => {
    const collector = new ArgumentCollector();
    for (const record of records) collector.add(record);
    return collector.finish();
  };
  const argv = (...records: string[]) => collect(...records)?.argv;

  it('returns the arguments of programs started on Linux 6.18', () => {
    const events = new Map<string, string[]>();
    for (const { type, text } of golden) {
      const serial = text.slice(0, text.indexOf(')'));
      if (type === 1309) events.set(serial, [...(events.get(serial) ?? []), body(text)]);
    }
    const all = [...events.values()].map((records) => argv(...records));
    assert.deepEqual(all[0], ['/bin/true', 'plain', 'a b', '"quoted"', 'line\nend', 'å', '', '(null)', '2F62']);
    assert.deepEqual(all[3], ['/bin/true', '\ufffd\ufffdx']);
    assert.deepEqual(all[4], ['/bin/true', 'x'.repeat(20_000), 'end', `${'z'.repeat(3_990)} ${'å'.repeat(2_000)}`]);
    assert.deepEqual(all[5], ['/bin/true', 'last', 'y'.repeat(7_400)]);
    assert.equal(all[6]?.length, 1_001);
    assert.equal(all[6]?.[1_000], 'argument-999');
  });

  it('accepts records in any order', () => {
    assert.deepEqual(argv(' a2="c"', 'argc=3 a0="a" a1="b"'), ['a', 'b', 'c']);
    assert.deepEqual(argv(' a1[1]=C3A5 a2="c"', 'argc=3 a0="a" a1_len=6 a1[0]=62'), ['a', 'bå', 'c']);
  });

  it('decodes arguments only once all pieces have arrived', () => {
    assert.deepEqual(argv('argc=1 a0_len=4 a0[0]=C3', ' a0[1]=A5'), ['å']);
  });

  it('returns no arguments if some pieces are missing', () => {
    assert.equal(argv('argc=3 a0="a" a1="b"'), undefined);
    assert.equal(argv('argc=3 a0="a" a2="b"'), undefined);
    assert.equal(argv('argc=1 a0_len=6 a0[0]=62'), undefined);
    assert.equal(argv('argc=1 a0_len=6 a0[1]=6263'), undefined);
    assert.equal(argv(' a0="a"'), undefined);
    assert.equal(argv(), undefined);
  });

  it('counts a repeated record once', () => {
    assert.deepEqual(argv('argc=1 a0_len=4 a0[0]=6162', 'argc=1 a0_len=4 a0[0]=6162'), ['ab']);
  });

  it('accepts an empty argument list', () => assert.deepEqual(argv('argc=0'), []));

  it('truncates arguments after 128 KiB, for any order of records', () => {
    const long = 'x'.repeat(MAX_ARGUMENT_BYTES - 10);
    const whole = collect(`argc=3 a0="${long}" a1="${'y'.repeat(100)}" a2="z"`);
    assert.deepEqual(whole, { argv: [long, 'y'.repeat(9)], bytesCut: 91 + 2 });
    const digits = '79'.repeat(100);
    const pieces = collect(`argc=3 a0="${long}" a1_len=400 a1[0]=${digits}`, ` a1[1]=${digits} a2="z"`);
    assert.deepEqual(pieces, { argv: [long, 'y'.repeat(8)], bytesCut: 192 + 2 });
  });

  it('round-trips any arguments, regardless of how the kernel splits them', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'grapheme', maxLength: 40 }), { maxLength: 12 }),
        fc.integer({ min: 1, max: 7 }),
        (given, size) => {
          const parts = [
            `argc=${given.length}`,
            ...given.flatMap((text, index) => asTheKernelWould(index, text, size)),
          ];
          assert.deepEqual(argv(...parts), given);
        },
      ),
      { numRuns: fuzzRuns(20_000) },
    );
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.array(hostile, { maxLength: 3 }), (records) => {
        collect('argc=2', ...records);
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});

/** One argument in records of its own: quoted, as digits, or in pieces of `size` bytes. */
function asTheKernelWould(index: number, text: string, size: number): string[] {
  if (/^[!#-~]*$/.test(text)) return [` a${index}="${text}"`];
  const bytes = Buffer.from(text);
  if (bytes.length < 10) return [` a${index}=${bytes.toString('hex').toUpperCase()}`];
  const records = [` a${index}_len=${bytes.length * 2}`];
  for (let at = 0; at < bytes.length; at += size) {
    records.push(
      ` a${index}[${at / size}]=${bytes
        .subarray(at, at + size)
        .toString('hex')
        .toUpperCase()}`,
    );
  }
  return records;
}
