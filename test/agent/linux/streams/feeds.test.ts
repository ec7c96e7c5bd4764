import assert from 'node:assert/strict';
import { pino } from 'pino';
import { ProcFolder } from '../../../../src/agent/host/proc-folder.ts';
import type { Beginning } from '../../../../src/agent/linux/audit/audit-log-source.ts';
import { Checkpoint } from '../../../../src/agent/linux/audit/checkpoint.ts';
import type { AuditEvent, AuditSink } from '../../../../src/agent/linux/audit/event.ts';
import type { ProcessTable } from '../../../../src/agent/linux/processes/process-table.ts';
import { Feeds } from '../../../../src/agent/linux/streams/feeds.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { milliseconds } from '../../../../src/core/base/duration.ts';
import { temporaryFolder } from '../../../harness/folders.ts';

describe("Feeds with auditd's log as the source", () => {
  it('reports starts whose exit may have been missed to subscribers only, not to the process table', async () => {
    const stateDirectory = temporaryFolder();
    const left = new Checkpoint(`${stateDirectory}/audit-checkpoint.json`, 'an earlier boot');
    left.write({ timeMs: Date.now() - 60_000, serial: 7 });
    const [known, reported]: [number[], number[]] = [[], []];
    let sink: AuditSink | undefined;
    let beginning: Beginning = {};
    const serials = (events: readonly AuditEvent[]) => events.map(({ serial }) => serial);
    const feeds = new Feeds(
      {
        wanted: () => ({ rules: [], feeds: new Set(['audit', 'starts']) }),
        sink: { accept: () => {}, drop: () => {} },
        audited: [],
        clock: systemClock,
        log: pino({ level: 'silent' }),
        hostRoot: '/',
        stateDirectory,
        writer: undefined,
        proc: new ProcFolder('/proc'),
        table: {
          acceptAudit: (events: readonly AuditEvent[]) => known.push(...serials(events)),
          startsLost: () => {},
        } as unknown as ProcessTable,
        commandLines: { read: async () => [] },
        heldStarts: undefined,
        supervisor: { run: (change) => change(), announce: () => {} },
      },
      [
        {
          name: 'auditLog',
          feeds: 'audit',
          make: ({ auditLog, resume }) => ({
            open: () => {
              sink = auditLog;
              beginning = resume?.() ?? {};
            },
            close: async () => {},
          }),
        },
      ],
    );
    feeds.subscribe([{ acceptAudit: (events) => reported.push(...serials(events)) }]);
    feeds.times.listenToExits(milliseconds(systemClock.monotonic() - 5_000));
    await feeds.refresh();
    const event = (serial: number, secondsAgo: number) =>
      ({ serial, time: new Date(Date.now() - secondsAgo * 1_000), fields: {}, records: [] }) as unknown as AuditEvent;
    sink?.accept([event(1, 70), event(2, 30), event(3, 1)]);
    beginning.reachedEnd?.();
    sink?.accept([event(4, 30)]); // the clock was set back
    await feeds.close();
    await feeds.finish();
    assert.deepEqual({ known, reported }, { known: [3, 4], reported: [2, 3, 4] });
  });
});
