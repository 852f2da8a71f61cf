/**
 * Writes `chat.jsonl` and `embeddings.jsonl` beside this file, or into the folder that is named:
 * `node examples/generate.ts [DIR]`. The same seed gives the same bytes. Every text is made up here; each chat request
 * holds a short passage and a question that one of its sentences answers, so that an extractive answer can be checked.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const lines = 500;

type Random = () => number;
interface Fact {
  sentence: string;
  question: string;
}
/** What can be said of one kind of place; `name` is the place, `n` draws a number, `who` a person. */
type Kind = (name: string, n: (from: number, to: number) => number, who: string) => Fact[];

const kinds: Record<string, Kind> = {
  lighthouse: (name, n, who) => [
    {
      sentence: `The ${name} lighthouse stands ${n(18, 61)} metres above the rocks.`,
      question: `How many metres above the rocks does it stand?`,
    },
    {
      sentence: `Its lamp flashes every ${n(4, 19)} seconds in clear weather.`,
      question: `How often does the lamp flash?`,
    },
    { sentence: `${who} paints the railing each spring.`, question: `Who paints the railing?` },
    { sentence: `Supplies come by boat on the first Monday of the month.`, question: `When do supplies come?` },
    { sentence: `The fog horn was replaced in ${n(1951, 2019)}.`, question: `When was the fog horn replaced?` },
  ],
  bakery: (name, n, who) => [
    {
      sentence: `The bakery in ${name} lights its oven at ${n(2, 5)} in the morning.`,
      question: `When is the oven lit?`,
    },
    {
      sentence: `It sells ${n(80, 640)} rye loaves on a market day.`,
      question: `How many rye loaves does it sell on a market day?`,
    },
    {
      sentence: `The sourdough was begun by ${who} and has never been left to dry.`,
      question: `Who began the sourdough?`,
    },
    { sentence: `Flour is weighed twice because the old scale sticks.`, question: `Why is flour weighed twice?` },
    { sentence: `Unsold rolls go to the school across the yard.`, question: `Where do unsold rolls go?` },
  ],
  observatory: (name, n, who) => [
    {
      sentence: `The ${name} observatory opens its dome on ${n(90, 240)} nights a year.`,
      question: `On how many nights does the dome open?`,
    },
    {
      sentence: `Its mirror was ground by hand and measures ${n(30, 180)} centimetres.`,
      question: `What does the mirror measure?`,
    },
    {
      sentence: `${who} found a faint comet from there while looking for something else.`,
      question: `Who found a faint comet?`,
    },
    {
      sentence: `Street lamps below are shaded after an agreement with the town.`,
      question: `Why are the street lamps shaded?`,
    },
    { sentence: `Visitors climb ${n(70, 310)} steps to the eyepiece.`, question: `How many steps do visitors climb?` },
  ],
  tram: (name, n, who) => [
    {
      sentence: `Tram line ${n(1, 19)} links ${name} with the harbour.`,
      question: `What does the tram line link with the harbour?`,
    },
    {
      sentence: `The ride takes ${n(11, 48)} minutes when the bridge is down.`,
      question: `How long does the ride take?`,
    },
    {
      sentence: `${who} drove the last wooden car before the fleet was renewed.`,
      question: `Who drove the last wooden car?`,
    },
    { sentence: `Bicycles travel free after seven in the evening.`, question: `When do bicycles travel free?` },
    {
      sentence: `The depot keeps ${n(3, 27)} cars ready for the winter.`,
      question: `How many cars does the depot keep ready?`,
    },
  ],
  orchard: (name, n, who) => [
    {
      sentence: `The orchard at ${name} grows ${n(12, 96)} kinds of apple.`,
      question: `How many kinds of apple does the orchard grow?`,
    },
    { sentence: `Bees are rented from ${who} for the weeks of blossom.`, question: `From whom are the bees rented?` },
    {
      sentence: `Frost is fought with ${n(40, 320)} small candles between the rows.`,
      question: `How is frost fought?`,
    },
    { sentence: `The cider press is older than the house beside it.`, question: `What is older than the house?` },
    { sentence: `Windfalls are fed to the pigs of the neighbour.`, question: `Who is fed the windfalls?` },
  ],
  library: (name, n, who) => [
    {
      sentence: `The library of ${name} lends ${n(900, 8800)} books a month.`,
      question: `How many books does the library lend a month?`,
    },
    {
      sentence: `Its reading room was a swimming bath until ${n(1932, 1998)}.`,
      question: `What was the reading room before?`,
    },
    {
      sentence: `${who} left it a collection of maps with hand-coloured coasts.`,
      question: `Who left the collection of maps?`,
    },
    { sentence: `Fines are paid in jars of jam during August.`, question: `How are fines paid during August?` },
    { sentence: `A cat sleeps on the returns desk and is listed as staff.`, question: `Where does the cat sleep?` },
  ],
  ferry: (name, n, who) => [
    {
      sentence: `The ferry to ${name} carries ${n(6, 42)} cars and any number of sheep.`,
      question: `How many cars does the ferry carry?`,
    },
    { sentence: `It crosses on a chain that is ${n(300, 2100)} metres long.`, question: `How long is the chain?` },
    { sentence: `Captain ${who} whistles before casting off.`, question: `Who whistles before casting off?` },
    {
      sentence: `Ice stops the service for ${n(5, 70)} days in a hard winter.`,
      question: `What stops the service in a hard winter?`,
    },
    { sentence: `Tickets are stamped with the drawing of a heron.`, question: `What is stamped on the tickets?` },
  ],
  workshop: (name, n, who) => [
    {
      sentence: `The clock workshop in ${name} repairs ${n(15, 190)} movements a year.`,
      question: `How many movements does the workshop repair a year?`,
    },
    {
      sentence: `Every spring is tempered in oil that ${who} mixes alone.`,
      question: `Who mixes the oil for tempering?`,
    },
    {
      sentence: `The smallest screw on the bench weighs less than a grain of rice.`,
      question: `What weighs less than a grain of rice?`,
    },
    {
      sentence: `Repairs are tested for ${n(7, 40)} days before anyone collects them.`,
      question: `How long are repairs tested?`,
    },
    { sentence: `A bell over the door rings a quarter tone flat.`, question: `What rings a quarter tone flat?` },
  ],
};

const heads = ['Fern', 'Amber', 'Stone', 'Wolf', 'Marl', 'Heron', 'Salt', 'Birch', 'Copper', 'Quiet', 'Long', 'Ash'];
const tails = ['hollow', 'ness', 'wick', 'ford', 'mere', 'holm', 'gate', 'dale', 'bourne', 'stead', 'crag', 'field'];
const firsts = [
  'Odile',
  'Tomas',
  'Ingrid',
  'Ravi',
  'Marta',
  'Kofi',
  'Lena',
  'Joao',
  'Sabine',
  'Arvid',
  'Noor',
  'Pilar',
];
const lasts = ['Brandt', 'Okafor', 'Lindqvist', 'Moreau', 'Tanaka', 'Halloran', 'Petrov', 'Adeyemi', 'Rossi', 'Vance'];

/** Deterministic [0, 1): mulberry32. */
function seeded(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)]!;
}

function shuffled<T>(random: Random, items: readonly T[]): T[] {
  const left = [...items];
  return items.map(() => left.splice(Math.floor(random() * left.length), 1)[0]!);
}

function facts(random: Random): Fact[] {
  const name = pick(random, heads) + pick(random, tails);
  const who = `${pick(random, firsts)} ${pick(random, lasts)}`;
  const number = (from: number, to: number) => from + Math.floor(random() * (to - from + 1));
  return shuffled(random, pick(random, Object.values(kinds))(name, number, who));
}

function chatBody(random: Random): object {
  const told = facts(random).slice(0, 4);
  const { question } = pick(random, told);
  const passage = told.map(({ sentence }) => sentence).join(' ');
  const system = { role: 'system', content: 'Answer with one sentence of the text.' };
  return {
    model: 'gpt-oss-120b',
    messages: [system, { role: 'user', content: `${passage} ${question}` }],
    max_tokens: 80,
  };
}

function embeddingBody(random: Random): object {
  const passage = facts(random).slice(0, 2);
  const input = passage.map(({ sentence }) => sentence).join(' ');
  return { model: 'text-embedding-3-small', input, dimensions: 256 };
}

function write(name: string, url: string, seed: number, body: (random: Random) => object): void {
  const random = seeded(seed);
  const text = Array.from({ length: lines }, (_, i) => {
    const custom_id = `${name}-${String(i + 1).padStart(4, '0')}`;
    return `${JSON.stringify({ custom_id, method: 'POST', url, body: body(random) })}\n`;
  }).join('');
  writeFileSync(join(process.argv[2] ?? import.meta.dirname, `${name}.jsonl`), text);
}

write('chat', '/v1/chat/completions', 2026, chatBody);
write('embeddings', '/v1/embeddings', 1959, embeddingBody);
