import assert from 'node:assert/strict';
import fc from 'fast-check';
import { readHeader } from '../../../../src/agent/linux/audit/header.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { golden } from './golden.ts';

const read = (text: string) => readHeader(Buffer.from(text, 'latin1'));

describe('readHeader', () => {
  it('returns the time, the serial and the offset of the body', () => {
    const text = 'audit(1795536426.345:6): argc=4 a0="/bin/ls"';
    assert.deepEqual(read(text), { time: 1_795_536_426_345, serial: 6, bodyAt: text.indexOf('argc') });
  });

  it('accepts a record without a body', () => {
    assert.equal(read('audit(1795536426.345:6): ')?.bodyAt, 25);
    assert.equal(read('audit(1795536426.345:6):')?.bodyAt, 24);
  });

  it('accepts serials up to 2^32', () => {
    assert.equal(read('audit(1.000:4294967295): ')?.serial, 4_294_967_295);
    assert.equal(read('audit(1.000:4294967296): '), undefined);
  });

  it('accepts times since the epoch, for a device without a clock, and serial 0 after a wrap', () => {
    assert.deepEqual(read('audit(0.090:0): '), { time: 90, serial: 0, bodyAt: 16 });
    assert.deepEqual(read('audit(9.009:9): '), { time: 9_009, serial: 9, bodyAt: 16 });
  });

  for (const text of [
    '',
    'audit',
    'audit(',
    'audit(1',
    'audit(1.',
    'audit(1.2:3): ',
    'audit(1.000:): ',
    'audit(1.000:1) x',
    'audit(.000:1): ',
    'type=1300 audit(1.000:1): ',
    'audit(99999999999999999.000:1): ',
    'audit(-1.000:1): ',
    'Audit(1.000:1): ',
    'audit[1.000:1): ',
    'audit(1x.000:1): ',
    'audit(1:000:1): ',
    'audit(1.0x0:1): ',
    'audit(1.0-0:1): ',
    'audit(1.000.1): ',
    'audit(1.000:1x): ',
    'audit(1.000:1]: ',
  ]) {
    it(`rejects ${JSON.stringify(text)}`, () => assert.equal(read(text), undefined));
  }

  it('finds a header in every record that a kernel wrote', () => {
    for (const { text } of golden) assert.ok(read(text) !== undefined, text);
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        readHeader(Buffer.from(bytes));
        readHeader(Buffer.concat([Buffer.from('audit('), Buffer.from(bytes)]));
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});
