import assert from 'node:assert/strict';
import fc from 'fast-check';
import { fitReported } from '../../../src/agent/hub/fit-reported.ts';
import { LARGEST_SECTION, sizeInTwin } from '../../../src/core/twin/sections.ts';

describe('fitReported', () => {
  it('leaves alone what fits', () => {
    const reported = { mirror: { a: { value: 'PT7M' } }, securityAgent: { version: '0.1.0', delivery: { queued: 1 } } };
    assert.deepEqual(fitReported(reported, 'securityAgent'), reported);
  });

  it('leaves out what a twin has no place for', () => {
    const status = {
      list: [1],
      nothing: null,
      never: undefined,
      infinite: Number.POSITIVE_INFINITY,
      'a.b': 1,
      'a b': 1,
      $a: 1,
      'a\u0001': 1,
      ok: { list: [], fine: 0, off: false },
    };
    assert.deepEqual(fitReported({ securityAgent: status }, 'securityAgent'), {
      securityAgent: { ok: { fine: 0, off: false } },
    });
  });

  it('leaves out what lies deeper than ten levels', () => {
    let deep: Record<string, unknown> = { bottom: 1 };
    for (let level = 0; level < 20; level++) deep = { level: deep };
    let depth = 0;
    for (let at: unknown = fitReported(deep, 'securityAgent'); at !== undefined; depth++) {
      at = (at as { level?: unknown }).level;
    }
    assert.equal(depth, 10);
  });

  it('cuts strings at 4 KB, between characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }), (text) => {
        const { a } = fitReported({ a: text.repeat(4_000) }, 'securityAgent') as { a: string };
        assert.ok(Buffer.byteLength(a) <= 4_000);
        assert.ok(!a.includes('\ufffd') || text.includes('\ufffd'));
        assert.ok(text.repeat(4_000) === a || (a.endsWith('…') && text.repeat(4_000).startsWith(a.slice(0, -1))));
      }),
    );
  });

  it('gives up the largest parts of the status, never the mirror', () => {
    const mirror = Object.fromEntries(Array.from({ length: 7 }, (_, n) => [`m${n}`, 'm'.repeat(3_000)]));
    const large = Object.fromEntries(Array.from({ length: 3 }, (_, n) => [`l${n}`, 'l'.repeat(3_900)]));
    const fitted = fitReported(
      { mirror, securityAgent: { state: 'running', collectors: large, delivery: { queued: 1 } } },
      'securityAgent',
    );
    assert.deepEqual(fitted, { mirror, securityAgent: { state: 'running', delivery: { queued: 1 } } });
    assert.ok(sizeInTwin(fitted) <= LARGEST_SECTION);
  });

  it('gives up first what it is told to', () => {
    const warnings = Object.fromEntries(Array.from({ length: 10 }, (_, n) => [`w${n}`, 'w'.repeat(1_000)]));
    const status = {
      posture: 'p'.repeat(1_000),
      configuration: { switchedOff: 's'.repeat(3_000), warnings },
      delivery: 'd'.repeat(500),
    };
    const statusIn = (room: number) =>
      fitReported({ m: 1, securityAgent: status }, 'securityAgent', ['posture', 'configuration.warnings'], room)
        .securityAgent;
    assert.deepEqual(statusIn(20_000), status);
    const { posture: _posture, ...others } = status;
    assert.deepEqual(statusIn(14_000), others);
    const { switchedOff } = status.configuration;
    assert.deepEqual(statusIn(4_000), { configuration: { switchedOff }, delivery: status.delivery });
    assert.deepEqual(statusIn(1_000), { delivery: status.delivery });
  });

  it('keeps the reported properties within the given size', () => {
    const status = fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), fc.string({ maxLength: 3_000 }), { maxKeys: 30 });
    fc.assert(
      fc.property(status, fc.integer({ min: 100, max: 5_000 }), (securityAgent, room) => {
        const fitted = fitReported({ m: { a: true }, securityAgent }, 'securityAgent', [], room);
        assert.ok(sizeInTwin(fitted) <= room);
      }),
    );
  });
});
