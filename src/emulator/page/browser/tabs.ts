/* Tabs as in the ARIA Authoring Practices: arrow keys, Home and End move; only the selected tab is in the tab order. */

/** Makes the tabs of index.html work. @param shown called with the id of the panel that is shown */
export function startTabs(shown: (panel: string) => void): void {
  const tabs = [...document.querySelectorAll<HTMLElement>('[role=tab]')];
  const select = (tab: HTMLElement, focus = true) => {
    for (const each of tabs) {
      const isSelected = each === tab;
      each.setAttribute('aria-selected', String(isSelected));
      each.tabIndex = isSelected ? 0 : -1;
      const panel = document.getElementById(each.getAttribute('aria-controls') ?? '');
      if (panel !== null) panel.hidden = !isSelected;
    }
    if (focus) tab.focus();
    shown(tab.getAttribute('aria-controls') ?? '');
  };
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener('click', () => select(tab));
    tab.addEventListener('keydown', (event) => {
      const targets: Readonly<Record<string, number>> = {
        ArrowRight: (index + 1) % tabs.length,
        ArrowLeft: (index + tabs.length - 1) % tabs.length,
        Home: 0,
        End: tabs.length - 1,
      };
      const target = tabs[targets[event.key] ?? -1];
      if (target === undefined) return;
      event.preventDefault();
      select(target);
    });
  }
}
