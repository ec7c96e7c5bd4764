import { METRICS, UP } from '../src/agent/status/openmetrics.ts';
import { type DocumentGenerator, GENERATED, table } from './documents.ts';

const page = () => `<!-- ${GENERATED} -->

# Metrics

A running agent gives its figures in the text format of [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/), or in
Prometheus' own, which keeps type and help of counters in node_exporter. It opens no network port: whatever collects metrics on the device fetches them.

\`\`\`
curl --unix-socket /run/vakt/control.sock http://vakt/metrics
vakt status --openmetrics
vakt status --prometheus
\`\`\`

All need root or the agent's user. The commands also print when the agent is not running: \`vakt_up 0\`.

For node_exporter's textfile collector, let cron write a file, under another name first so that no half-written file is read
(\`/etc/cron.d/vakt-metrics\`):

\`\`\`
* * * * * root cd /var/lib/prometheus/node-exporter && vakt status --prometheus > vakt.prom.new 2>/dev/null; mv vakt.prom.new vakt.prom
\`\`\`

[config/prometheus-rules.yml](../config/prometheus-rules.yml) has alerts for Prometheus; name the file under \`rule_files\`:

| alert | meaning |
| --- | --- |
| \`VaktDown\` | The agent is not running. |
| \`VaktSilent\` | A device that had metrics within the last day has none: it is off, unreachable or no longer scraped. |
| \`VaktAbsent\` | No device has metrics of the agent. |
| \`VaktFileOld\` | The file for node_exporter is no longer written. |
| \`VaktDegraded\` | The agent cannot do all of its work; \`vakt status\` shows the reason. |
| \`VaktDisconnected\` | The agent has not been connected to the hub for an hour. |
| \`VaktSecurityAlert\` | An alert of severity high or critical was raised; \`vakt alerts\` shows it. |
| \`VaktEventsDropped\` | Events were lost; the label \`reason\` shows where. |
| \`VaktCredentialExpires\` | A certificate expires within a week. Tokens are renewed hourly: remove this rule where devices use keys. |

The counts of events survive restarts; the other counters begin at 0 when the agent starts.

${table(
  ['Metric', 'Type', 'Meaning'],
  [UP, ...METRICS].map(({ name, type, help }) => [`\`${type === 'counter' ? `${name}_total` : name}\``, type, help]),
)}
`;

export const metricsPage: DocumentGenerator = { path: 'docs/metrics.md', generate: page };
