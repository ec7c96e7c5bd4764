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

Worth an alert in Prometheus:

| expression | meaning |
| --- | --- |
| \`vakt_up == 0\` | The agent is not running. |
| \`time() - node_textfile_mtime_seconds{file=~".*vakt.prom"} > 600\` | The file is no longer written. |
| \`vakt_state{state="degraded"} == 1\` | The agent cannot do all of its work; \`vakt status\` says why. |
| \`increase(vakt_alerts_total{severity=~"high\\|critical"}[10m]) > 0\` | An alert of severity high or critical was raised. |
| \`increase(vakt_events_dropped_total[1h]) > 0\` | Events were lost; the label \`reason\` says where. |
| \`vakt_credential_expiry_timestamp_seconds - time() < 7 * 86400\` | A certificate expires within a week; for tokens, which are renewed hourly, leave this out. |

The counts of events survive restarts; the other counters begin at 0 when the agent starts.

${table(
  ['Metric', 'Type', 'Meaning'],
  [UP, ...METRICS].map(({ name, type, help }) => [`\`${type === 'counter' ? `${name}_total` : name}\``, type, help]),
)}
`;

export const metricsPage: DocumentGenerator = { path: 'docs/metrics.md', generate: page };
