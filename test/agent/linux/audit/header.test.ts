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
