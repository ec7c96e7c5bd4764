import assert from 'node:assert/strict';
import { diagnostic } from '../../../src/agent/collectors/diagnostic.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import { look, records } from './samples.ts';

const { time } = records.log;
const of = (line: Omit<LogLine, 'time'>) => diagnostic.translate({ time, ...line }, look);

describe('Diagnostic', () => {
  it('reports a log line with its remedy', () => {
    assert.deepEqual(diagnostic.translate(records.log, look), {
      Severity: 'Warning',
      Message: 'Could not reach the hub.',
      ProcessId: process.pid,
      ThreadId: 0,
      ExtraDetails: { ErrorId: 'HUB_UNREACHABLE', Remedy: 'Check the network.' },
    });
  });

  it('has no ExtraDetails for a line without details', () => {
    assert.deepEqual(of({ level: 'info', message: 'Started.' }), {
      Severity: 'Information',
      Message: 'Started.',
      ProcessId: process.pid,
      ThreadId: 0,
    });
  });

  for (const [level, severity] of [
    ['fatal', 'Fatal'],
    ['error', 'Error'],
    ['warn', 'Warning'],
    ['info', 'Information'],
    ['debug', 'Debug'],
    ['trace', 'Debug'],
  ] as const) {
    it(`maps ${level} to ${severity}`, () => assert.equal(of({ level, message: '' })?.Severity, severity));
  }
});
