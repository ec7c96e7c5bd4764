import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseOsRelease } from '../../../src/agent/host/os-release.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { mutated } from '../linux/mutated.ts';

describe('parseOsRelease', () => {
  for (const [line, value] of [
    ['NAME=debian', 'debian'],
    ['NAME="Debian GNU/Linux"', 'Debian GNU/Linux'],
    ['NAME=\'Debian \\ "GNU"\'', 'Debian \\ "GNU"'],
    ['NAME="a \\"b\\" \\$c \\`d\\` \\\\ \\n"', 'a "b" $c `d` \\ \\n'],
    ['NAME=a\\ b', undefined],
    ['NAME=a\\"b', undefined],
    ['NAME=""', ''],
    ['NAME=', ''],
    ['  NAME="x"  ', 'x'],
    ['NAME="x"\r', 'x'],
    ['NAME="open', undefined],
    ['NAME="a" b', undefined],
    ['NAME=a b', undefined],
    ['# NAME=x', undefined],
    ['NAME = x', undefined],
    ['name=x', undefined],
    ['NAME=a\nNAME=b', 'b'],
  ] as const) {
    it(`reads ${JSON.stringify(line)} as ${JSON.stringify(value)}`, () => {
      assert.equal(parseOsRelease(line).NAME, value);
    });
  }

  it('accepts any text in linear time', function () {
    this.timeout(600_000);
    const line = fc.string({ unit: fc.constantFrom('A', '_', '=', '"', "'", '\\', '$', ' ', '\n') });
    const golden = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nNAME="Debian"\nVERSION_ID=\'13\'\nID=debian\n';
    fc.assert(
      fc.property(fc.oneof(line, fc.string({ unit: 'binary' }), mutated(golden)), (text) => {
        const values = Object.values(parseOsRelease(text));
        assert.ok(values.join('').length <= text.length);
      }),
      { numRuns: fuzzRuns(100_000) },
    );
    parseOsRelease(`A=${' '.repeat(60_000)}x\nB="${'\\'.repeat(60_000)}`);
    assert.equal(parseOsRelease('__proto__=x').toString, undefined);
  });
});
