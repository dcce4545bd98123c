import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectUrl, Endpoints, endpointUrl } from '../src/sdk/endpoints.js';

test('an endpoint may be written in many ways', () => {
  assert.equal(endpointUrl('wss://a.example:4443/'), 'wss://a.example:4443/');
  assert.equal(endpointUrl('https://a.example/?x=1#y'), 'wss://a.example/');
  assert.equal(endpointUrl('http://127.0.0.1:8080'), 'ws://127.0.0.1:8080/');
  assert.equal(endpointUrl(' a.example:4443 '), 'wss://a.example:4443/');
  assert.equal(endpointUrl('localhost:4443', false), 'ws://localhost:4443/');
  assert.equal(endpointUrl('[::1]:80', false), 'ws://[::1]/');
  for (const bad of ['', 'ftp://a', 'ws://', 'a b c']) assert.equal(endpointUrl(bad), undefined, bad);
});

test('the address to dial says who and where', () => {
  const url = new URL(connectUrl('wss://a.example/', { room: 'r&1', peer: 'p', token: 't=1' }));
  assert.equal(url.searchParams.get('roomId'), 'r&1');
  assert.equal(url.searchParams.get('peerId'), 'p');
  assert.equal(url.searchParams.get('skein'), '1');
  assert.equal(url.searchParams.get('token'), 't=1');
  assert.ok(!connectUrl('wss://a.example/', { room: 'r', peer: 'p' }).includes('token'));
});

test('endpoints are taken in turn, learnt ones after those given', () => {
  const endpoints = new Endpoints(['ws://a', 'ws://b']);
  assert.equal(endpoints.current, 'ws://a/');
  endpoints.learn(['ws://b/', 'ws://c/', 'nonsense://x']);
  assert.deepEqual(endpoints.all, ['ws://a/', 'ws://b/', 'ws://c/']);
  assert.deepEqual([1, 2, 3, 4].map(() => endpoints.advance()), ['ws://b/', 'ws://c/', 'ws://a/', 'ws://b/']);
});

test('what a later node tells replaces what an earlier one told, and the current one is not lost by it', () => {
  const endpoints = new Endpoints(['ws://a']);
  endpoints.learn(['ws://b']);
  assert.equal(endpoints.advance(), 'ws://b/');
  endpoints.learn(['ws://c', 'ws://d']);
  assert.equal(endpoints.current, 'ws://b/');
  assert.equal(endpoints.advance(), 'ws://a/');
  assert.equal(endpoints.advance(), 'ws://c/');
});

test('a secure page cannot dial in the clear', () => {
  const endpoints = new Endpoints(['wss://a'], { secureOnly: true });
  endpoints.learn(['ws://b', 'wss://c']);
  assert.deepEqual(endpoints.all, ['wss://a/', 'wss://c/']);
  assert.throws(() => new Endpoints(['ws://b'], { secureOnly: true }), TypeError);
  assert.throws(() => new Endpoints([]), TypeError);
});
