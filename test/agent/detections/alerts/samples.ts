import type { AlertPolicy } from '../../../../src/agent/detections/alerts/policy.ts';
import type { Fields, Hit, LogSource, Rule } from '../../../../src/agent/detections/subject.ts';
import type { Payload } from '../../../../src/core/contract/event.ts';

export const rule = (more: Partial<Rule> = {}): Rule => ({
  id: '9a0d3c4e-0000-4000-8000-000000000001',
  title: 'Crypto miner started',
  author: 'Vakt project',
  level: 'high',
  tags: ['attack.impact', 'attack.t1496', 'attack.command-and-control', 'attack.t1071.001', 'attack.s0002', 'cve.2021'],
  falsePositives: [],
  references: [],
  origin: 'builtin',
  file: 'miner.yml',
  alert: 'IoT_CryptoMiner',
  remediation: 'End it.',
  requires: [],
  sources: ['process_creation'],
  alerts: true,
  ...more,
});

export const hit = (
  more: Omit<Partial<Hit>, 'rule' | 'subject'> & {
    rule?: Partial<Rule>;
    fields?: Fields;
    payload?: Payload;
    time?: number;
    source?: LogSource;
    eventIds?: readonly string[];
  } = {},
): Hit => {
  const {
    rule: ofRule,
    fields = {},
    payload = {},
    time = 0,
    source = 'process_creation',
    eventIds = [],
    ...others
  } = more;
  const all = { Image: '/tmp/xmrig', CommandLine: '/tmp/xmrig -o pool', User: 'root', ...fields };
  return {
    rule: rule(ofRule),
    subject: {
      source,
      time,
      fields: all,
      views: [],
      event: {
        name: 'ProcessCreate',
        ids: eventIds,
        payload: { Executable: all.Image, CommandLine: all.CommandLine, ProcessId: 7, UserName: 'root', ...payload },
      },
    },
    ...others,
  };
};

export const POLICY: AlertPolicy = {
  enabled: true,
  minimumLevel: 'informational',
  disabledRules: [],
  exceptions: {},
  silencedUntil: '',
};
