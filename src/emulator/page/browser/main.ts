import type { HubState, ModuleState, StreamEvents } from '../protocol.ts';
import { Alerts } from './alerts.ts';
import { hasToken, type Listener, listen } from './api.ts';
import { Chart } from './chart.ts';
import { byId, element } from './dom.ts';
import { Events } from './events.ts';
import { Faults } from './faults.ts';
import { Methods } from './methods.ts';
import { startTabs } from './tabs.ts';
import { Twin } from './twin.ts';

/* The page: passes the events of the stream to the views. */

const ALL = '';
const nameOf = ({ deviceId, moduleId }: ModuleState) => `${deviceId}/${moduleId}`;

const alerts = new Alerts();
const chart = new Chart();
const events = new Events();
byId('activity').append(alerts.node, chart.node, events.node);
const twin = new Twin(byId('twin'));
const methods = new Methods(byId('methods'));
const faults = new Faults(byId('faults'));
const modules = byId<HTMLSelectElement>('module');

let state: HubState | undefined;
let last = 0;

function showModules({ modules: listed, modulesLeft }: HubState): void {
  const chosen = modules.value;
  const option = (value: string, text: string, disabled = false) => element('option', { value, disabled }, text);
  const options = listed.map((module) =>
    option(nameOf(module), `${nameOf(module)}${module.connected ? '' : ' (not connected)'}`),
  );
  if (listed.length > 1) options.unshift(option(ALL, 'all modules'));
  if (modulesLeft > 0) options.push(option('more', `${modulesLeft} more are not listed`, true));
  const texts = (all: readonly HTMLOptionElement[]) => all.map(({ textContent }) => textContent).join('\n');
  if (texts(options) !== texts([...modules.options])) {
    modules.replaceChildren(...options);
    const isListed = options.some(({ value }) => value === chosen);
    modules.value = isListed ? chosen : (options[0]?.value ?? ALL);
  }
  chooseModule();
}

function chooseModule(): void {
  const module = state?.modules.find((each) => nameOf(each) === modules.value);
  events.setModule(modules.value);
  for (const view of [twin, methods, faults]) view.setModule(module);
}

function showState(news: HubState): void {
  state = news;
  const { hostName, port, online, connected, modules: listed, modulesLeft } = news;
  const total = listed.length + modulesLeft;
  const agents =
    total === 1 ? (connected === 1 ? 'agent connected' : 'agent not connected') : `${connected} of ${total} connected`;
  byId('hub').textContent = `${hostName}, port ${port} · ${online ? agents : 'the hub is offline'}`;
  faults.setState(news);
  showModules(news);
}

/** The handler of each event of the stream. */
const TAKE: { readonly [E in keyof StreamEvents]: (data: StreamEvents[E]) => void } = {
  hello: (hello) => {
    if (state === undefined) {
      // Not repeated after a reconnect, so that edited values stay.
      twin.setForms(hello.object, hello.settings);
      methods.setForms(hello.methods);
      faults.setForms(hello.faults);
    }
    showState(hello.state);
    alerts.add(hello.alerts, false);
    chart.update(hello.minutes, hello.totals);
    take(hello.rows);
    void twin.load();
  },
  news: (news) => {
    chart.update(news.minutes, news.totals);
    take(news);
    alerts.add(news.alerts, true);
  },
  state: showState,
  twin: ({ modules: changed, any }) => {
    if (any || changed.includes(modules.value)) void twin.load();
  },
};

function take({ messages, skipped }: StreamEvents['hello']['rows']): void {
  last = messages.at(-1)?.sequence ?? last;
  events.add(messages, skipped);
}

const STATUS = {
  live: 'Live',
  broken: 'Not connected; trying again',
  refused: 'Refused',
} as const;

const listener: Listener = {
  event: (name, data) => TAKE[name](data),
  last: () => last,
  state(connection) {
    const status = byId('connection');
    if (status.textContent === STATUS[connection]) return;
    status.textContent = STATUS[connection];
    status.className = connection;
    if (connection === 'refused')
      refuse('The token in the address is wrong: each start of the emulator creates a new one.');
  },
};

function refuse(text: string): void {
  const notice = byId('notice');
  notice.textContent = `${text} Open the address as the emulator printed it.`;
  notice.hidden = false;
}

startTabs(() => {});
modules.addEventListener('change', chooseModule);
// Without this, another token typed into the address has no effect.
window.addEventListener('hashchange', () => location.reload());
byId('skip').addEventListener('click', (event) => {
  event.preventDefault(); // it would replace the token in the address
  byId('main-content').focus();
});
document.addEventListener('keydown', (event) => {
  const isTyping = event.target instanceof HTMLElement && event.target.matches('input, select, textarea');
  if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || isTyping) return;
  if (byId('activity').hidden) return;
  event.preventDefault();
  events.focusSearch();
});
if (hasToken) void listen(listener);
else refuse('The address has no token.');
