"""A private authority, the server's certificate, and a bundle as long as AWS's."""

import datetime

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

#: AWS signs for each region with three authorities (AWS guide: "Using SSL/TLS to encrypt a
#: connection to a DB instance"), and global-bundle.pem holds those of all regions.
REGIONS = 36


class Authority:
    """What the server shows and what its clients trust."""

    def __init__(self) -> None:
        # RSA, as RDS's default authority is.
        authority = trustme.CA(key_type=trustme.KeyType.RSA)
        certificate = authority.issue_cert(
            "localhost", "127.0.0.1", common_name="127.0.0.1", key_type=trustme.KeyType.RSA
        )
        pem = authority.cert_pem.bytes()
        self.files = {
            "ca.pem": pem,
            "cert.pem": certificate.cert_chain_pems[0].bytes(),
            "key.pem": certificate.private_key_pem.bytes(),
        }
        self.options = [f"--ssl-{name}={{files}}/{name}.pem" for name in ("ca", "cert", "key")]
        #: This authority and as many strangers as AWS's bundle would have beside it.
        self.bundle = pem + b"".join(_strangers(3 * REGIONS - 1))


def _strangers(count: int) -> list[bytes]:
    """Return authorities of the kinds that RDS has; what they cost to read is in their keys."""
    keys = [
        rsa.generate_private_key(65537, 2048),
        rsa.generate_private_key(65537, 4096),
        ec.generate_private_key(ec.SECP384R1()),
    ]
    now = datetime.datetime.now(datetime.UTC)
    found = []
    for number in range(count):
        key = keys[number % len(keys)]
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"stranger {number}")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(number + 1)
            .not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=365))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        )
        certificate = builder.sign(key, hashes.SHA256())
        found.append(certificate.public_bytes(serialization.Encoding.PEM))
    return found
