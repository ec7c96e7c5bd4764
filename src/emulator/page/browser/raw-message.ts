import { call } from './api.ts';
import { element } from './dom.ts';

/** Shows the message with this number as JSON in `details`, and loads it when that is opened for the first time. */
export function rawMessage(details: HTMLDetailsElement, sequence: number): HTMLElement {
  const label = `Message ${sequence} as JSON`;
  const text = element('pre', { class: 'raw', tabindex: 0, role: 'region', 'aria-label': label }, 'Loading …');
  const load = async () => {
    details.removeEventListener('toggle', loadIfOpen);
    try {
      text.textContent = (await call<{ text: string }>('GET', `/api/message?sequence=${sequence}`)).text;
    } catch (error) {
      text.textContent = (error as Error).message;
      details.addEventListener('toggle', loadIfOpen);
    }
  };
  const loadIfOpen = () => {
    if (details.open) void load();
  };
  details.addEventListener('toggle', loadIfOpen);
  loadIfOpen();
  return text;
}
