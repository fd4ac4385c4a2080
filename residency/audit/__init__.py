"""The record's formats and proofs: entries in, bytes, trees and checkpoints out."""
