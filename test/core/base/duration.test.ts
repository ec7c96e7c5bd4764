import assert from 'node:assert/strict';
import {
  days,
  formatDuration,
  hours,
  milliseconds,
  minutes,
  parseDuration,
  seconds,
} from '../../../src/core/base/duration.ts';

describe('parseDuration', () => {
  for (const [text, expected] of [
    ['PT1S', seconds(1)],
    ['PT7M', minutes(7)],
    ['PT5H', hours(5)],
    ['P1D', days(1)],
    ['P2W', days(14)],
    ['P1M', days(30)],
    ['P1Y', days(365)],
    ['P1Y2M3W4DT5H6M7S', days(365 + 60 + 21 + 4) + hours(5) + minutes(6) + seconds(7)],
    ['P1M1W', days(37)],
    ['P1WT1M', days(7) + minutes(1)],
    ['PT0.5S', 500],
    ['PT0,5S', 500],
    ['PT1H0.5M', hours(1) + seconds(30)],
    ['P0.5D', hours(12)],
    ['P1DT0.001S', days(1) + 1],
    ['PT90M', minutes(90)],
    ['PT007M', minutes(7)],
    ['P0DT1S', seconds(1)],
    ['PT2147483648S', seconds(2 ** 31)],
    ['P999999999999999Y', days(365) * 999_999_999_999_999],
  ] as const) {
    it(`reads ${text} as ${expected} ms`, () => assert.equal(parseDuration(text), expected));
  }

  for (const [text, why] of [
    ['', 'nothing'],
    ['P', 'no component'],
    ['PT', 'no component'],
    ['P1DT', 'a T without time'],
    ['T1S', 'no P'],
    ['1S', 'no P'],
    ['PT1', 'no unit'],
    ['PTS', 'no number'],
    ['P1S', 'seconds without T'],
    ['PT1D', 'days behind T'],
    ['PT1S1M', 'components out of order'],
    ['PT1M1M', 'a component twice'],
    ['PT0.5M1S', 'a fraction that is not last'],
    ['P0.5DT1H', 'a fraction that is not last'],
    ['PT.5S', 'a fraction without a whole'],
    ['PT1.S', 'a point without a fraction'],
    ['PT1.2.3S', 'two points'],
    ['PT0S', 'nothing in total'],
    ['P0Y0M0DT0H0M0S', 'nothing in total'],
    ['PT0.0001S', 'nothing in total when rounded'],
    ['-PT1S', 'a sign'],
    ['PT-1S', 'a sign'],
    ['+PT1S', 'a sign'],
    ['PT+1S', 'a sign'],
    ['pt1s', 'small letters'],
    [' PT1S', 'a blank'],
    ['PT1S\n', 'a line end'],
    ['PT 1S', 'a blank'],
    ['PT1e3S', 'an exponent'],
    ['PT0x10S', 'a hexadecimal number'],
    ['PT١S', 'foreign digits'],
    ['PT1234567890123456S', 'more digits than a number holds'],
    ['2024-05-01T12:00:00Z', 'a time'],
    ['P0001-01-01T00:00:00', 'the alternative format'],
  ] as const) {
    it(`refuses ${JSON.stringify(text)}: ${why}`, () => assert.equal(parseDuration(text), undefined));
  }

  describe('with a range', () => {
    const [shortest, longest] = [seconds(1), days(365)];
    for (const [text, expected] of [
      ['PT1S', seconds(1)],
      ['PT1.0004S', seconds(1)],
      ['P365D', days(365)],
      ['P364.999999999D', days(365)],
    ] as const) {
      it(`takes ${text}, which is within it`, () => assert.equal(parseDuration(text, shortest, longest), expected));
    }
    for (const text of ['PT0.9996S', 'PT0.999999999S', 'PT31536000.000000001S', 'P365DT0.0004S', 'P1.000000001Y']) {
      it(`refuses ${text}, which is outside until it is rounded`, () =>
        assert.equal(parseDuration(text, shortest, longest), undefined));
    }
  });

  it('is done in a moment with a long hostile text', () => {
    assert.equal(parseDuration(`P${'1'.repeat(100_000)}`), undefined);
    assert.equal(parseDuration(`P${'1Y'.repeat(50_000)}`), undefined);
  });
});

describe('formatDuration', () => {
  for (const [span, text] of [
    [seconds(1), 'PT1S'],
    [seconds(90), 'PT1M30S'],
    [minutes(7), 'PT7M'],
    [hours(13), 'PT13H'],
    [days(1), 'P1D'],
    [hours(36), 'P1DT12H'],
    [days(365), 'P365D'],
    [milliseconds(1_500), 'PT1.5S'],
    [milliseconds(1), 'PT0.001S'],
  ] as const) {
    it(`writes ${span} ms as ${text}, which reads as the same`, () => {
      assert.equal(formatDuration(span), text);
      assert.equal(parseDuration(text), span);
    });
  }
});
