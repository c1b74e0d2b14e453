// The Node client "binance": USDMClient, WebsocketClient and WebsocketAPIClient. Speaks the same lines as driver.py.
"use strict";

const dns = require("node:dns");
const readline = require("node:readline");
const { USDMClient, WebsocketAPIClient, WebsocketClient } = require("binance");

// The client points at the real venue by default: no other host may be looked up.
const lookup = dns.lookup;
dns.lookup = (host, ...rest) => {
  if (host !== "127.0.0.1" && host !== "localhost") throw new Error(`the client wants to reach ${host}`);
  return lookup(host, ...rest);
};

const WAIT_MS = 10_000; // longest wait for stream messages
const { CONTRACT_VENUE: authority, CONTRACT_KEY: api_key, CONTRACT_SECRET: api_secret } = process.env;
const baseUrl = `http://${authority}`;
const wsUrl = `ws://${authority}`;
const note = (...words) => console.error(...words);
const logger = { trace() {}, info() {}, error: note };
const keys = { api_key, api_secret };
// A time sync would ask the venue now and then on its own account; the clocks are one here.
const rest = new USDMClient({ ...keys, baseUrl, disableTimeSync: true });
const api = new WebsocketAPIClient({ ...keys, wsUrl, attachEventListeners: false }, logger);
const streams = () =>
  new WebsocketClient({ ...keys, wsUrl, restOptions: { baseUrl, disableTimeSync: true } }, logger);

class Refused extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

async function ask(answer) {
  try {
    return await answer;
  } catch (error) {
    const code = error?.code ?? error?.error?.code;
    if (typeof code === "number") throw new Refused(code, error.message ?? error.error.msg);
    throw error;
  }
}

// The WebSocket API of this client leaves the time of a request to its caller.
const call = async (method, params) =>
  (await ask(method.call(api, "usdm", { ...params, timestamp: Date.now() }))).result;

// Messages of a stream, with a bounded wait until they say enough.
class Heard {
  messages = [];
  wake = () => {};
  hear(message) {
    this.messages.push(message);
    this.wake();
  }
  async until(enough) {
    const deadline = Date.now() + WAIT_MS;
    while (!enough(this.messages) && Date.now() < deadline) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, deadline - Date.now());
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return [...this.messages];
  }
}

// Subscribe on a connection of its own, hear until it is enough, close.
async function hear(subscribe, enough) {
  const heard = new Heard();
  const client = streams();
  client.on("message", (message) => message.e && heard.hear(message));
  subscribe(client);
  const messages = await heard.until(enough);
  client.closeAll(true);
  return messages;
}

const orderFacts = (row) => ({
  client_id: row.clientOrderId,
  order_id: String(row.orderId),
  status: row.status,
  side: row.side,
  price: String(row.price),
  qty: String(row.origQty),
  filled: String(row.executedQty),
});

function newOrder({ symbol, side, kind, qty, client_id, price, tif = "GTC", reduce_only = false }) {
  const order = { symbol, side, type: kind, quantity: qty, newClientOrderId: client_id };
  if (kind === "LIMIT") Object.assign(order, { price, timeInForce: tif });
  return reduce_only ? { ...order, reduceOnly: "true" } : order;
}

const change = ({ symbol, client_id, side, qty, price }) =>
  ({ symbol, side, quantity: qty, price, origClientOrderId: client_id });
const named = ({ symbol, client_id }) => ({ symbol, origClientOrderId: client_id });

// A book kept by the venue's rules: a snapshot, then every difference in turn.
function bookFacts(snapshot, differences) {
  const sides = {};
  for (const side of ["bids", "asks"]) sides[side] = new Map(snapshot[side].map(([price]) => [Number(price), price]));
  let last = snapshot.lastUpdateId;
  let updates = 0;
  for (const event of differences) {
    if (!updates && event.u < last) continue;
    if (updates ? event.pu !== last : event.U > last) throw new Error(`book at ${last}, difference after ${event.pu}`);
    for (const [side, rows] of [["bids", event.b], ["asks", event.a]]) {
      for (const [price, qty] of rows) {
        if (Number(qty)) sides[side].set(Number(price), price);
        else sides[side].delete(Number(price));
      }
    }
    last = event.u;
    updates += 1;
  }
  const bid = sides.bids.get(Math.max(...sides.bids.keys()));
  return { updates, bid, ask: sides.asks.get(Math.min(...sides.asks.keys())) };
}

const told = new Heard();

function hearUser(event) {
  if (event.e === "ORDER_TRADE_UPDATE") {
    const { c: client_id, i, X: status, p: price, q: qty, z: filled } = event.o;
    told.hear({ told: "order", client_id, order_id: String(i), status, price, qty, filled });
  } else if (event.e === "ACCOUNT_UPDATE") {
    for (const row of event.a.P ?? []) told.hear({ told: "position", symbol: row.s, qty: row.pa });
  }
}

async function first(wanted) {
  return (await told.until((every) => every.some(wanted))).find(wanted) ?? null;
}

const verbs = {
  server_time: async () => ask(rest.getServerTime()),
  rules: async ({ symbol }) => {
    const row = (await ask(rest.getExchangeInfo())).symbols.find((each) => each.symbol === symbol);
    const filter = (name) => row.filters.find((each) => each.filterType === name);
    return { tick: filter("PRICE_FILTER").tickSize, step: filter("LOT_SIZE").stepSize };
  },
  place: async (order) => orderFacts(await ask(rest.submitNewOrder(newOrder(order)))),
  amend: async (order) => orderFacts(await ask(rest.modifyOrder(change(order)))),
  cancel: async (order) => orderFacts(await ask(rest.cancelOrder(named(order)))),
  cancel_all: async ({ symbol }) => void (await ask(rest.cancelAllOpenOrders({ symbol }))),
  countdown: async ({ symbol, countdown_ms }) =>
    void (await ask(rest.setCancelOrdersOnTimeout({ symbol, countdownTime: countdown_ms }))),
  query: async (order) => orderFacts(await ask(rest.getOrder(named(order)))),
  batch: async ({ orders }) => {
    const rows = await ask(rest.submitMultipleOrders(orders.map(newOrder)));
    return rows.map((row) => (row.code ? { code: row.code } : orderFacts(row)));
  },
  cancel_batch: async ({ symbol, order_ids }) => {
    const rows = await ask(rest.cancelMultipleOrders({ symbol, orderIdList: order_ids.map(Number) }));
    return rows.map((row) => (row.code ? { code: row.code } : orderFacts(row)));
  },
  open_orders: async ({ symbol }) => (await ask(rest.getAllOpenOrders({ symbol }))).map(orderFacts),
  positions: async () => {
    const rows = await ask(rest.getPositionsV3());
    return rows
      .filter((row) => Number(row.positionAmt))
      .map((row) => ({ symbol: row.symbol, qty: row.positionAmt }));
  },
  balances: async () => {
    const row = (await ask(rest.getBalanceV3())).find((each) => each.asset === "USDT");
    return { wallet: row.balance, available: row.availableBalance };
  },
  trades: async ({ symbol }) => {
    const rows = await ask(rest.getAccountTrades({ symbol }));
    return rows.map(({ id, orderId, qty, price }) =>
      ({ trade_id: String(id), order_id: String(orderId), qty, price }));
  },
  leverage: async ({ symbol, leverage }) => (await ask(rest.setLeverage({ symbol, leverage }))).leverage,
  listen_key: async () => (await ask(rest.getFuturesUserDataListenKey())).listenKey,
  listen_key_keep: async () => void (await ask(rest.keepAliveFuturesUserDataListenKey())),
  user_start: async () => {
    const client = streams();
    const open = new Promise((resolve) => client.on("open", resolve));
    client.on("message", hearUser);
    await client.subscribeUsdFuturesUserDataStream();
    await open;
  },
  user_order: ({ client_id, status, price = "" }) =>
    first((each) =>
      each.client_id === client_id && each.status === status && (!price || Number(each.price) === Number(price))),
  user_position: ({ symbol, qty }) =>
    first((each) => each.told === "position" && each.symbol === symbol && Number(each.qty) === Number(qty)),
  book_ticker: async ({ symbol, count }) => {
    const enough = (every) => every.length >= count;
    const events = await hear((client) => client.subscribeSymbolBookTicker(symbol, "usdm"), enough);
    return events.map(({ b, B, a, A }) => ({ bid: b, bid_qty: B, ask: a, ask_qty: A }));
  },
  mark_price: async ({ symbol, count }) => {
    const enough = (every) => every.length >= count;
    const events = await hear((client) => client.subscribeMarkPrice(symbol, "usdm", 1000), enough);
    return events.map(({ p }) => p);
  },
  depth: async ({ symbol, limit }) => {
    const { bids, asks } = await ask(rest.getOrderBook({ symbol, limit }));
    return { bids, asks };
  },
  depth_stream: async ({ symbol, count }) => {
    let snapshot = null;
    const enough = (every) => {
      if (every.length && snapshot === null) {
        snapshot = rest.getOrderBook({ symbol, limit: 1000 }).then((book) => (snapshot = book));
      }
      return every.filter((event) => event.u > (snapshot?.lastUpdateId ?? Infinity)).length >= count;
    };
    const events = await hear((client) => client.subscribeDiffBookDepth(symbol, 100, "usdm"), enough);
    return bookFacts(await snapshot, events);
  },
  ws_place: async (order) => orderFacts(await call(api.submitNewFuturesOrder, newOrder(order))),
  ws_amend: async (order) => orderFacts(await call(api.modifyFuturesOrder, change(order))),
  ws_cancel: async (order) => orderFacts(await call(api.cancelFuturesOrder, named(order))),
  ws_query: async (order) => orderFacts(await call(api.getFuturesOrderStatus, named(order))),
};

async function answer(line) {
  const { verb, args } = JSON.parse(line);
  try {
    return { facts: (await verbs[verb](args)) ?? null };
  } catch (error) {
    if (error instanceof Refused) return { code: error.code, message: error.message };
    return { broke: error?.stack ?? JSON.stringify(error) };
  }
}

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
console.log = console.info = console.warn = note;
say({ verbs: Object.keys(verbs).sort() });
readline
  .createInterface({ input: process.stdin })
  .on("line", async (line) => say(await answer(line)))
  .on("close", () => process.exit(0));
