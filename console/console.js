/**
 * The console: what both clouds say of themselves and of the batches, side by side, every two seconds. It decides
 * nothing and holds nothing; all text from a server goes in as text, never as markup.
 */
const { key, sites } = await (await fetch('config.json')).json();
const everyMs = 2000;
const patienceMs = 4000;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

async function read(site, path) {
  const response = await fetch(`${site.origin}${path}`, {
    headers: { authorization: `Bearer ${key}` },
    signal: AbortSignal.timeout(patienceMs),
  });
  const body = await response.json();
  if (!response.ok) throw new Error(body?.error?.message ?? `status ${response.status}`);
  return body;
}

function describe(value) {
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value);
}

function siteCard(site, health) {
  const card = element('article');
  card.append(element('h2', site.name));
  const list = element('dl');
  const row = (term, text, className) => list.append(element('dt', term), element('dd', text, className));
  row('front door', site.origin);
  if (health instanceof Error) row('answers', `no: ${health.message}`, 'bad');
  else {
    row('answers', 'yes', 'good');
    for (const [term, value] of Object.entries(health)) row(term, describe(value));
  }
  card.append(list);
  return card;
}

function batchRow(batch) {
  const row = element('tr');
  const { total = 0, completed = 0, failed = 0 } = batch.request_counts ?? {};
  const bar = element('progress');
  bar.max = Math.max(total, 1);
  bar.value = completed + failed;
  const answered = element('td');
  answered.append(bar, ` ${completed + failed}/${total}`);
  const by = Object.entries(batch.holdfast?.answered_by ?? {}).map(([site, lines]) => `${site} ${lines}`);
  row.append(
    element('td', batch.id),
    element('td', batch.status, batch.status === 'failed' || batch.status === 'expired' ? 'bad' : undefined),
    answered,
    element('td', by.join(', ')),
    element('td', batch.holdfast?.receipt ?? ''),
    element('td', batch.holdfast?.home ?? ''),
    element('td', new Date(batch.created_at * 1000).toLocaleTimeString()),
  );
  return row;
}

/** The list from the first cloud that answers: both tell the same. */
async function batches() {
  const lists = await Promise.allSettled(sites.map((site) => read(site, '/v1/batches?limit=20')));
  const found = lists.find((list) => list.status === 'fulfilled');
  if (found === undefined) throw lists[0].reason;
  return found.value.data;
}

async function refresh() {
  const health = await Promise.all(sites.map((site) => read(site, '/ops/v1/health').catch((error) => error)));
  document.getElementById('sites').replaceChildren(...sites.map((site, i) => siteCard(site, health[i])));
  const note = document.getElementById('note');
  try {
    const found = await batches();
    document.getElementById('batches').replaceChildren(...found.map(batchRow));
    note.textContent = found.length === 0 ? 'No batches yet: npx holdfast submit examples/chat.jsonl' : '';
  } catch (error) {
    note.textContent = `No cloud answers: ${error.message}`;
  }
}

for (;;) {
  await refresh();
  await new Promise((resolve) => setTimeout(resolve, everyMs));
}
